//! The blocks with Redis killed, frozen and emptied: the service goes on, and what was written meanwhile is there afterwards.

mod common;

use std::{sync::Arc, time::Duration};

use cache_kit::{Heard, LockError, Owned, Places, Quota, Schedule, Scope, StateError, States, Topic, Verdict};
use test_support::{Proxy, RedisServer};
use tokio::time::{Instant, sleep, timeout};

use common::{Instance, PATIENCE, text, until_none_waits};

const LONG: Duration = Duration::from_secs(300);

impl Instance {
    fn states(&self, name: &str) -> States<u64, String> {
        self.kit.states(name).ttl(LONG).build()
    }
}

/// Kills it; what it had is there after a restart.
fn kill_saved(server: &mut RedisServer) {
    assert!(server.save(), "it can be saved");
    server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_while_redis_was_away_is_written_back() {
    // Stopped and not killed, so that it comes back with its data.
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let (here, there) = (one.states("draft"), other.states("draft"));
    for key in 1..=4 {
        here.put(&key, &text("before")).await.unwrap();
    }
    proxy.freeze();
    proxy.cut();
    let began = Instant::now();
    assert_eq!(here.put(&1, &text("meanwhile")).await.unwrap(), Scope::ThisInstance);
    assert!(began.elapsed() < Duration::from_secs(5), "no hang");
    one.waits(false).await;
    assert_eq!(here.get(&1).await.unwrap().as_deref(), Some("meanwhile"), "its own writing");
    assert_eq!(here.get(&2).await.unwrap().as_deref(), Some("before"), "what it knows");
    assert!(matches!(here.get(&99).await, Err(StateError::Away(_))), "what it does not know");
    assert_eq!(here.put(&50, &text("new")).await.unwrap(), Scope::ThisInstance);
    assert_eq!(here.take(&3).await.unwrap().as_deref(), Some("before"));
    assert_eq!(here.take(&3).await.unwrap(), None, "once here");
    assert_eq!(
        here.update(&4, |old| old.map(|old| old + ", and after")).await.unwrap().as_deref(),
        Some("before, and after")
    );
    // Somebody else writes meanwhile.
    assert_eq!(here.put(&2, &text("mine")).await.unwrap(), Scope::ThisInstance);
    assert_eq!(there.put(&2, &text("theirs")).await.unwrap(), Scope::Everywhere);
    assert_eq!(there.get(&1).await.unwrap().as_deref(), Some("before"));
    assert_eq!(here.waiting(), 5);

    proxy.resume();
    one.waits(true).await;
    until_none_waits(&here).await;
    for states in [&here, &there] {
        assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("meanwhile"));
        assert_eq!(states.get(&2).await.unwrap().as_deref(), Some("theirs"), "the other's stays");
        assert_eq!(states.get(&3).await.unwrap(), None);
        assert_eq!(states.get(&4).await.unwrap().as_deref(), Some("before, and after"));
        assert_eq!(states.get(&50).await.unwrap().as_deref(), Some("new"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted_with_its_data_nobody_notices() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let sessions = one.states("session");
    sessions.put(&1, &text("ada")).await.unwrap();
    kill_saved(&mut server);
    one.waits(false).await;
    assert_eq!(sessions.get(&1).await.unwrap().as_deref(), Some("ada"));
    sessions.put(&2, &text("bob")).await.unwrap();
    server.restart();
    one.waits(true).await;
    until_none_waits(&sessions).await;
    let other = Instance::on(&server.url()).await.states("session");
    assert_eq!(other.get(&1).await.unwrap().as_deref(), Some("ada"));
    assert_eq!(other.get(&2).await.unwrap().as_deref(), Some("bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_or_older_is_given_what_is_remembered() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let sessions = one.kit.states("session").ttl(LONG).restored_after_loss().build::<u64, String>();
    sessions.put(&1, &text("ada")).await.unwrap();
    sessions.put(&2, &text("bob")).await.unwrap();
    sessions.put(&3, &text("eve")).await.unwrap();
    server.kill();
    one.waits(false).await;
    sessions.put(&2, &text("bob, changed")).await.unwrap();
    assert!(sessions.take(&3).await.unwrap().is_some());
    server.remove_dump();
    server.restart();
    one.waits(true).await;
    until_none_waits(&sessions).await;
    assert_eq!(sessions.get(&1).await.unwrap().as_deref(), Some("ada"), "remembered");
    assert_eq!(sessions.get(&2).await.unwrap().as_deref(), Some("bob, changed"), "written back");
    assert_eq!(sessions.get(&3).await.unwrap(), None, "taken");
    let other = Instance::on(&server.url()).await.states("session");
    assert_eq!(other.get(&1).await.unwrap().as_deref(), Some("ada"), "it is back for all");

    let plain = one.states("plain");
    plain.put(&1, &text("plain")).await.unwrap();
    server.kill();
    one.waits(false).await;
    server.restart();
    one.waits(true).await;
    assert_eq!(plain.get(&1).await.unwrap(), None, "not unless that is asked for");
    assert!(sessions.get(&1).await.unwrap().is_some());

    // Nor does what was there before come back with an old file.
    assert!(server.save(), "it can be saved");
    sessions.put(&2, &text("bob, once more")).await.unwrap();
    server.kill();
    one.waits(false).await;
    server.restart();
    one.waits(true).await;
    assert_eq!(sessions.get(&2).await.unwrap().as_deref(), Some("bob, once more"));
    let other = Instance::on(&server.url()).await.states("session");
    assert_eq!(other.get(&2).await.unwrap().as_deref(), Some("bob, once more"));

    // What others remove is not brought back: nothing was lost.
    assert!(other.take(&1).await.unwrap().is_some());
    assert_eq!(sessions.get(&1).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_an_outage_are_for_who_issued_them_and_all_are_accepted_once() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let [here, there] = [&one.kit, &other.kit].map(|kit| kit.codes("login"));
    let code = here.issue("ada").await.unwrap();
    let used = here.issue("bob").await.unwrap();
    // The other has seen it, and yet has not issued it.
    assert!(matches!(there.verify("ada", "wrong").await.unwrap(), Verdict::Wrong { left: 4 }));
    assert_eq!(here.verify("bob", "wrong").await.unwrap(), Verdict::Wrong { left: 4 });
    assert_eq!(here.verify("ada", "wrong").await.unwrap(), Verdict::Wrong { left: 3 });
    kill_saved(&mut server);
    one.waits(false).await;
    other.waits(false).await;
    for codes in [&here, &there] {
        assert!(
            matches!(codes.verify("ada", &code).await, Err(StateError::Away(_))),
            "it may have been used elsewhere"
        );
    }
    let fresh = here.issue("eve").await.unwrap();
    assert!(matches!(there.verify("eve", &fresh).await, Err(StateError::Away(_))));
    assert_eq!(here.verify("eve", &fresh).await.unwrap(), Verdict::Accepted);
    assert_eq!(here.verify("eve", &fresh).await.unwrap(), Verdict::Unknown, "once");
    let late = here.issue("kim").await.unwrap();
    server.restart();
    one.waits(true).await;
    other.waits(true).await;
    let began = Instant::now();
    // Once it is written back everybody accepts it.
    while there.verify("kim", &late).await.unwrap() != Verdict::Accepted {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(here.verify("kim", &late).await.unwrap(), Verdict::Unknown, "once");
    assert_eq!(there.verify("eve", &fresh).await.unwrap(), Verdict::Unknown, "used in the outage");
    assert_eq!(there.verify("ada", &code).await.unwrap(), Verdict::Unknown, "it may be from before it was used");
    assert_eq!(there.verify("bob", &used).await.unwrap(), Verdict::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_locks_are_local_meanwhile() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let limiter = one.kit.limiter("api", Quota::new(3, LONG));
    let locks = one.kit.locks("slot").lasts(Duration::from_millis(500));
    let strict = one.kit.locks("slot").for_all_or_none();
    let guard = locks.try_acquire(&1).await.unwrap();
    let fence = guard.fence();
    assert_eq!(limiter.check(&1).await.scope, Scope::Everywhere);
    server.kill();
    one.waits(false).await;
    for remaining in [2, 1, 0] {
        let decision = limiter.check(&1).await;
        assert!(decision.is_allowed && decision.remaining == remaining && decision.scope == Scope::ThisInstance);
    }
    assert!(!limiter.check(&1).await.is_allowed);
    timeout(PATIENCE, guard.lost()).await.expect("who cannot renew it loses it");
    assert!(matches!(strict.try_acquire(&2).await, Err(LockError::Away(_))));
    let guard = locks.acquire(&1, PATIENCE).await.unwrap();
    assert_eq!(guard.scope(), Scope::ThisInstance);
    assert!(guard.fence() > fence, "{} {fence}", guard.fence());
    assert!(matches!(locks.try_acquire(&1).await, Err(LockError::Taken)));
    server.restart();
    one.waits(true).await;
    let next = locks.acquire(&2, PATIENCE).await.unwrap();
    assert_eq!(next.scope(), Scope::Everywhere);
    assert_eq!(limiter.check(&1).await.scope, Scope::Everywhere);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_told_of_the_gap() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let [here, there]: [Topic<u32>; 2] = [&one.kit, &other.kit].map(|kit| kit.topic("shifts"));
    let (mut near, mut far) = (here.subscribe().await, there.subscribe().await);
    here.publish(&1).await.unwrap();
    for subscription in [&mut near, &mut far] {
        assert_eq!(timeout(PATIENCE, subscription.next()).await.unwrap(), Some(Heard::Message(1)));
    }
    server.kill();
    one.waits(false).await;
    assert_eq!(here.publish(&2).await.unwrap(), Scope::ThisInstance);
    let mut heard = Vec::new();
    while !heard.contains(&Heard::Message(2)) {
        heard.push(timeout(PATIENCE, near.next()).await.expect("it comes").unwrap());
    }
    server.restart();
    one.waits(true).await;
    other.waits(true).await;
    assert_eq!(timeout(PATIENCE, far.next()).await.expect("it comes"), Some(Heard::Gap));
    // What is published from the moment on at which a subscription is back is heard.
    let began = Instant::now();
    let mut number = 3;
    loop {
        here.publish(&number).await.unwrap();
        match timeout(Duration::from_millis(300), far.next()).await {
            Ok(Some(Heard::Message(heard))) if heard >= 3 => break,
            _ => assert!(began.elapsed() < PATIENCE, "it never comes back"),
        }
        number += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_cut_off_is_told_too() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url): (Proxy, String) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let mut subscription = one.kit.topic::<u32>("shifts").subscribe().await;
    let topic = other.kit.topic::<u32>("shifts");
    topic.publish(&1).await.unwrap();
    assert_eq!(timeout(PATIENCE, subscription.next()).await.unwrap(), Some(Heard::Message(1)));
    proxy.cut();
    topic.publish(&2).await.unwrap();
    assert_eq!(timeout(PATIENCE, subscription.next()).await.unwrap(), Some(Heard::Gap));
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_searched_and_sent_when_it_is_back() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let places: Places<u64> = one.kit.places("object");
    places.put(&1, 13.405, 52.52).await.unwrap();
    places.remember([(2, 13.0645, 52.3906)]).await.unwrap();
    server.kill();
    one.waits(false).await;
    assert_eq!(places.put(&3, 13.41, 52.53).await.unwrap(), Scope::ThisInstance);
    let found = places.nearest(13.405, 52.52, 10).await.unwrap();
    assert_eq!(found.iter().map(|near| near.id).collect::<Vec<_>>(), [1, 3, 2]);
    server.restart();
    one.waits(true).await;
    let other: Places<u64> = Instance::on(&server.url()).await.kit.places("object");
    let began = Instant::now();
    while other.nearest(13.41, 52.53, 1).await.unwrap().iter().all(|near| near.id != 3) {
        assert!(began.elapsed() < PATIENCE, "what was put meanwhile is never sent");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_wait_and_then_catch_up() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let runs = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let jobs =
        one.kit.jobs().lasts(Duration::from_secs(2)).job("tick", Schedule::every(Duration::from_secs(1)), move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async { Ok::<(), String>(()) }
        });
    let count = || runs.load(std::sync::atomic::Ordering::SeqCst);
    let task = tokio::spawn(jobs.run());
    let began = Instant::now();
    while count() == 0 {
        assert!(began.elapsed() < PATIENCE, "it never runs");
        sleep(Duration::from_millis(20)).await;
    }
    kill_saved(&mut server);
    one.waits(false).await;
    sleep(Duration::from_millis(300)).await;
    let before = count();
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(count(), before, "nobody knows who else would run it");
    server.restart();
    one.waits(true).await;
    let began = Instant::now();
    while count() == before {
        assert!(began.elapsed() < PATIENCE, "it never catches up");
        sleep(Duration::from_millis(20)).await;
    }
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_has_is_listed_from_what_is_known() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let tasks: States<Owned<u64, u64>, String> = one.kit.states("task").ttl(LONG).build();
    tasks.put(&Owned { owner: 1, id: 1 }, &text("known")).await.unwrap();
    server.kill();
    one.waits(false).await;
    tasks.put(&Owned { owner: 1, id: 2 }, &text("new")).await.unwrap();
    let mut listed = tasks.list(&1).await.unwrap();
    listed.sort();
    assert_eq!(listed, [(1, text("known")), (2, text("new"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_code_does_not_come_back_with_an_old_file() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let codes = one.kit.codes("login");
    let code = codes.issue("ada").await.unwrap();
    assert!(server.save(), "it can be saved");
    assert_eq!(codes.verify("ada", &code).await.unwrap(), Verdict::Accepted);
    server.kill();
    one.waits(false).await;
    server.restart();
    one.waits(true).await;
    let other = Instance::on(&server.url()).await.kit.codes("login");
    for codes in [&codes, &other] {
        assert_eq!(codes.verify("ada", &code).await.unwrap(), Verdict::Unknown);
    }
    let code = other.issue("ada").await.unwrap();
    assert_eq!(codes.verify("ada", &code).await.unwrap(), Verdict::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_outlives_an_outage_of_the_network() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let one = Instance::on(&url).await;
    let codes = one.kit.codes("login");
    let code = codes.issue("ada").await.unwrap();
    proxy.freeze();
    proxy.cut();
    assert!(matches!(codes.verify("ada", &code).await, Err(StateError::Away(_))));
    one.waits(false).await;
    proxy.resume();
    one.waits(true).await;
    assert_eq!(codes.verify("ada", &code).await.unwrap(), Verdict::Accepted);
}
