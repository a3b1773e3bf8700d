//! Topics.

use std::time::Duration;

use cache_kit::{Heard, Scope, Topic};
use test_support::RedisServer;
use tokio::time::{Instant, sleep, timeout};

use crate::{Instance, PATIENCE, in_memory};

/// Also where only the publisher was cut off.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_told_of_what_a_publisher_without_redis_said() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let (here, there): (Topic<u32>, Topic<u32>) = (one.kit.topic("shifts"), other.kit.topic("shifts"));
    let mut far = there.subscribe().await;
    here.publish(&1).await.unwrap();
    assert_eq!(timeout(PATIENCE, far.next()).await.unwrap(), Some(Heard::Message(1)));
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    assert_eq!(here.publish(&2).await.unwrap(), Scope::ThisInstance);
    proxy.resume();
    one.waits(true).await;
    let heard = timeout(Duration::from_secs(5), far.next()).await;
    assert_eq!(heard.expect("it is told that it missed something"), Some(Heard::Gap));
    here.publish(&3).await.unwrap();
    loop {
        match timeout(PATIENCE, far.next()).await.unwrap() {
            Some(Heard::Message(3)) => break,
            heard => assert_eq!(heard, Some(Heard::Gap)),
        }
    }
}

/// Slow ones lose messages, and are told.
#[tokio::test(flavor = "multi_thread")]
async fn slow_subscribers_are_told() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    for kit in [&one.kit, &in_memory()] {
        let topic: Topic<u32> = kit.topic("many");
        let mut slow = topic.subscribe().await;
        for number in 0..10_000 {
            topic.publish(&number).await.unwrap();
        }
        let (mut next, mut gaps) = (0, 0);
        let began = Instant::now();
        let mut last = 10_000;
        while next <= 10_000 {
            match timeout(Duration::from_millis(1500), slow.next()).await {
                Ok(Some(Heard::Message(number))) => {
                    assert!(number == next || gaps > 0, "{number} after {next}");
                    if number != next {
                        gaps -= 1;
                    }
                    next = number + 1;
                }
                Ok(Some(Heard::Gap)) => gaps += 1,
                Ok(None) => panic!("it ended"),
                Err(_) => {
                    topic.publish(&last).await.unwrap();
                    last += 1;
                }
            }
            assert!(began.elapsed() < PATIENCE);
        }
    }
}

/// A browser more is no connection to Redis more.
#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_to_a_topic_share_a_connection() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let count = || server.cli(&["CLIENT", "LIST"]).matches("addr=").count() / 2;
    let before = count();
    let topic: Topic<u32> = one.kit.topic("shifts");
    let mut all = Vec::new();
    for _ in 0..50 {
        all.push(one.kit.topic::<u32>("shifts").subscribe().await);
    }
    assert!(count() <= before + 1, "{before} {}", count());
    topic.publish(&1).await.unwrap();
    for subscription in &mut all {
        assert_eq!(timeout(PATIENCE, subscription.next()).await.unwrap(), Some(Heard::Message(1)));
    }
    drop(all);
    let began = Instant::now();
    while count() > before {
        assert!(began.elapsed() < PATIENCE, "the connection stays");
        sleep(Duration::from_millis(20)).await;
    }
    // And again.
    let mut again = topic.subscribe().await;
    topic.publish(&2).await.unwrap();
    assert_eq!(timeout(PATIENCE, again.next()).await.unwrap(), Some(Heard::Message(2)));
}

/// A connection that nothing comes from any more, though nobody has closed it, while calls go to another server by now.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_follow_to_the_server_that_took_over() {
    let (old, new) = (RedisServer::own().expect("a server"), RedisServer::own().expect("a server"));
    let (proxy, url) = old.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&new.url()).await);
    let (here, there): (Topic<u32>, Topic<u32>) = (one.kit.topic("shifts"), other.kit.topic("shifts"));
    let mut far = here.subscribe().await;
    old.stop();
    proxy.lead(new.address());
    let states = one.kit.states("draft").build::<u64, String>();
    drop(states.get(&1).await);
    one.waits(true).await;
    let began = Instant::now();
    while one.kit.states("draft").build::<u64, String>().get(&1).await.is_err() {
        assert!(began.elapsed() < PATIENCE);
    }
    assert_eq!(timeout(PATIENCE, far.next()).await.expect("it is told"), Some(Heard::Gap));
    let began = Instant::now();
    loop {
        there.publish(&1).await.unwrap();
        if timeout(Duration::from_millis(500), far.next()).await == Ok(Some(Heard::Message(1))) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it hears nothing of the new server");
    }
    old.cont();
}

/// A connection of its own that was lost without a word, while calls are answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_silent_for_long_is_asked_whether_it_lives() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let (here, there): (Topic<u32>, Topic<u32>) = (one.kit.topic("shifts"), other.kit.topic("shifts"));
    let mut far = here.subscribe().await;
    // Longer than it is asked after, and shorter than it is waited for.
    proxy.freeze();
    let asked = timeout(PATIENCE, far.next()).await;
    assert_eq!(asked.expect("it is told"), Some(Heard::Gap));
    proxy.resume();
    let began = Instant::now();
    loop {
        there.publish(&1).await.unwrap();
        if timeout(Duration::from_millis(500), far.next()).await == Ok(Some(Heard::Message(1))) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it hears nothing");
    }
}

/// Whoever comes while the last one goes hears what is published from then on, and nothing is left in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_subscribes_while_the_last_one_leaves_misses_nothing() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for kit in [&one.kit, &in_memory()] {
        let before = tasks();
        let comers = (0..3_u32).map(|who| {
            let topic: Topic<u32> = kit.topic("shifts");
            tokio::spawn(async move {
                for round in 0..60 {
                    let mut subscription = topic.subscribe().await;
                    let number = who * 1_000 + round;
                    topic.publish(&number).await.unwrap();
                    loop {
                        match timeout(PATIENCE, subscription.next()).await.expect("it is heard") {
                            Some(Heard::Message(heard)) if heard == number => break,
                            Some(Heard::Message(_)) => {}
                            heard => panic!("{heard:?}"),
                        }
                    }
                }
            })
        });
        for comer in comers.collect::<Vec<_>>() {
            comer.await.unwrap();
        }
        let began = Instant::now();
        while tasks() > before {
            assert!(began.elapsed() < PATIENCE, "{} tasks more", tasks() - before);
            sleep(Duration::from_millis(20)).await;
        }
    }
}
