//! States.

use std::time::Duration;

use cache_kit::{Scope, StateError};
use test_support::RedisServer;
use tokio::time::{Instant, sleep, timeout};

use crate::{Instance, LONG, in_memory, text, until_none_waits};

/// Nobody writes during the outage, so what was written then is written back, whatever this instance had last seen before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_of_an_outage_gives_way_only_to_writings_of_the_outage() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("draft").ttl(LONG).build::<u64, String>());
    here.put(&1, &text("first")).await.unwrap();
    there.put(&1, &text("second")).await.unwrap();
    there.put(&2, &text("never seen here")).await.unwrap();
    for states in [&here, &there] {
        states.put(&3, &text("to be removed before")).await.unwrap();
        states.put(&4, &text("to be removed meanwhile")).await.unwrap();
    }
    assert!(there.take(&3).await.unwrap().is_some());
    // Contact after the other's writings.
    sleep(Duration::from_millis(50)).await;
    here.put(&9, &text("contact")).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    assert!(there.take(&4).await.unwrap().is_some());
    for key in 1..=4 {
        assert_eq!(here.put(&key, &text("third")).await.unwrap(), Scope::ThisInstance);
    }
    proxy.resume();
    one.waits(true).await;
    until_none_waits(&here).await;
    assert_eq!(there.get(&2).await.unwrap().as_deref(), Some("third"), "never seen here before");
    assert_eq!(there.get(&1).await.unwrap().as_deref(), Some("third"), "seen here in an older state");
    assert_eq!(there.get(&3).await.unwrap().as_deref(), Some("third"), "removed before");
    assert_eq!(there.get(&4).await.unwrap(), None, "removed meanwhile");
}

/// The same for a handle that had no contact of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_by_states_without_contact_of_their_own_is_written_back() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("draft").ttl(LONG).build::<u64, String>());
    there.put(&1, &text("long before")).await.unwrap();
    // Heartbeats go on, nobody uses `here`.
    sleep(Duration::from_millis(1500)).await;
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    assert_eq!(here.put(&1, &text("meanwhile")).await.unwrap(), Scope::ThisInstance);
    proxy.resume();
    one.waits(true).await;
    until_none_waits(&here).await;
    assert_eq!(there.get(&1).await.unwrap().as_deref(), Some("meanwhile"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_used_in_an_outage_lives_on() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let one = Instance::on(&url).await;
    let sessions = one.kit.states("session").ttl(Duration::from_secs(4)).sliding().build::<u64, String>();
    for session in [1, 2] {
        sessions.put(&session, &text("ada")).await.unwrap();
    }
    let other = Instance::on(&server.url()).await;
    let there = other.kit.states("session").ttl(Duration::from_secs(4)).sliding().build::<u64, String>();
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        for session in [1, 2] {
            assert_eq!(sessions.get(&session).await.unwrap().as_deref(), Some("ada"));
        }
        if began.elapsed() > Duration::from_secs(1) {
            there.take(&2).await.unwrap();
        }
        sleep(Duration::from_millis(100)).await;
    }
    proxy.resume();
    one.waits(true).await;
    assert_eq!(sessions.get(&1).await.unwrap().as_deref(), Some("ada"), "it was read all the time");
    assert_eq!(sessions.get(&2).await.unwrap(), None, "it was ended elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_an_outage_outlives_its_handle() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    server.kill();
    one.waits(false).await;
    let states = one.kit.states("draft").ttl(LONG).build::<u64, String>();
    assert_eq!(states.put(&3, &text("late")).await.unwrap(), Scope::ThisInstance);
    drop(states);
    server.restart();
    one.waits(true).await;
    sleep(Duration::from_secs(1)).await;
    let states = one.kit.states("draft").ttl(LONG).build::<u64, String>();
    assert_eq!(states.get(&3).await.unwrap().as_deref(), Some("late"));
}

/// Where it cannot be read, and that is an error, it stays.
#[tokio::test]
async fn what_cannot_be_read_is_not_taken() {
    let kit = in_memory();
    let old = kit.states("shape").ttl(LONG).build::<u64, (u32, u32)>();
    old.put(&1, &(1, 2)).await.unwrap();
    let strict = kit.states("shape").ttl(LONG).unreadable_is_an_error().build::<u64, (String, u32)>();
    assert!(matches!(strict.take(&1).await, Err(StateError::Unreadable(_))));
    assert_eq!(old.get(&1).await.unwrap(), Some((1, 2)));
}

/// Changes whose callers went away are made once or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_changes_are_made_once_at_most() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let counts = [&one, &other].map(|it| it.kit.states("count").ttl(LONG).build::<u64, u64>());
    let tasks: Vec<_> = (0..400)
        .map(|number| {
            let counts = counts[number % 2].clone();
            let task = async move { counts.update(&1, |old| Some(old.unwrap_or(0) + 1)).await };
            tokio::spawn(timeout(Duration::from_micros(fastrand::u64(100..200_000)), task))
        })
        .collect();
    let (mut made, mut given_up) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(Ok(_)) => made += 1,
            _ => given_up += 1,
        }
    }
    let count = counts[0].get(&1).await.unwrap().unwrap_or(0);
    assert!(count >= made && count <= made + given_up, "{made} {count} {given_up}");
    assert_eq!(counts[0].waiting() + counts[1].waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_at_once_are_all_made() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let counts = [&one, &other].map(|it| it.kit.states("count").ttl(LONG).build::<u64, u64>());
    let changes: Vec<_> = (0..200)
        .map(|number| {
            let counts = counts[number % 2].clone();
            tokio::spawn(async move { counts.update(&1, |old| Some(old.unwrap_or(0) + 1)).await })
        })
        .collect();
    for change in changes {
        change.await.unwrap().unwrap();
    }
    assert_eq!(counts[0].get(&1).await.unwrap(), Some(200));
}
