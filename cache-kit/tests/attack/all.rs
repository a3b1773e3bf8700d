//! What holds for all blocks.

use std::time::Duration;

use cache_kit::{Heard, Owned, Places, Quota, Scope, Topic};
use test_support::RedisServer;
use tokio::time::{Instant, sleep, timeout};

use crate::{Instance, LONG, in_memory, text, until_none_waits};

#[tokio::test(flavor = "multi_thread")]
async fn times_without_end_do_no_harm() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let one = Instance::on(&url).await;
    for kit in [&one.kit, &in_memory()] {
        let states = kit.states("endless").ttl(Duration::MAX).sliding().build::<u64, String>();
        states.put(&1, &text("a")).await.unwrap();
        assert!(states.touch(&1).await.unwrap());
        assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("a"));
        let codes = kit.codes("endless").ttl(Duration::MAX);
        let code = codes.issue("ada").await.unwrap();
        assert_eq!(codes.verify("ada", &code).await.unwrap(), cache_kit::Verdict::Accepted);
        let none = kit.states("endless").ttl(Duration::ZERO).build::<u64, String>();
        none.put(&2, &text("a")).await.unwrap();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(none.get(&2).await.unwrap(), None);
    }
    let states = one.kit.states("endless").ttl(Duration::MAX).sliding().build::<u64, String>();
    assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("a"));
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("a"));
    assert_eq!(states.put(&1, &text("b")).await.unwrap(), Scope::ThisInstance);
    assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("b"));
}

/// No call hangs where Redis does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_hangs_with_a_frozen_redis() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let kit = &one.kit;
    let states = kit.states("s").ttl(LONG).build::<u64, String>();
    let tasks = kit.states("t").ttl(LONG).build::<Owned<u64, u64>, String>();
    for id in 0..50 {
        tasks.put(&Owned { owner: 1, id }, &text("x")).await.unwrap();
    }
    states.put(&1, &text("x")).await.unwrap();
    let (codes, limiter, locks) = (kit.codes("c"), kit.limiter("l", Quota::per_minute(5)), kit.locks("k"));
    let code = codes.issue("ada").await.unwrap();
    let topic: Topic<u32> = kit.topic("t");
    let places: Places<u64> = kit.places("p");
    let guard = locks.try_acquire(&1).await.unwrap();
    let mut subscription = topic.subscribe().await;
    for round in 0..3 {
        server.stop();
        let limit = Duration::from_secs(8);
        let began = Instant::now();
        let ended = tokio::join!(
            timeout(limit, states.get(&1)),
            timeout(limit, states.update(&1, |old| old)),
            timeout(limit, states.take(&7)),
            timeout(limit, tasks.list(&1)),
            timeout(limit, codes.issue("bob")),
        );
        let is_ended = [ended.0.is_ok(), ended.1.is_ok(), ended.2.is_ok(), ended.3.is_ok(), ended.4.is_ok()];
        assert_eq!(is_ended, [true; 5], "round {round}");
        let ended = tokio::join!(
            timeout(limit, codes.verify("ada", &code)),
            timeout(limit, limiter.check(&1)),
            timeout(limit, locks.acquire(&2, Duration::from_secs(1))),
            timeout(limit, topic.publish(&1)),
            timeout(limit, places.put(&1, 1.0, 1.0)),
        );
        let is_ended = [ended.0.is_ok(), ended.1.is_ok(), ended.2.is_ok(), ended.3.is_ok(), ended.4.is_ok()];
        assert_eq!(is_ended, [true; 5], "round {round}");
        assert!(!matches!(ended.0, Ok(Ok(cache_kit::Verdict::Accepted))), "it may be used elsewhere");
        assert!(began.elapsed() < limit, "{:?}", began.elapsed());
        server.cont();
        one.waits(true).await;
        until_none_waits(&states).await;
    }
    guard.release().await;
    let mut heard = Vec::new();
    while let Ok(Some(one)) = timeout(Duration::from_secs(2), subscription.next()).await {
        heard.push(one);
    }
    assert!(heard.contains(&Heard::Message(1)), "{heard:?}");
    assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("x"));
}
