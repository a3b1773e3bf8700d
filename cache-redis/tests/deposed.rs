//! Servers that were the primary and go on as if they were: nothing of what they say counts.

mod common;

use std::time::{Duration, Instant};

use cache_core::{
    Outcome, Store,
    store::{HolderId, StoreError},
};
use cache_redis::{RedisConfig, RedisStore};
use common::{sentinels::*, *};
use test_support::{RedisServer, unique};

#[tokio::test]
async fn a_stopped_primary_that_goes_on_after_the_failover_is_not_trusted_again() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    let store = connect(&group.url(), &namespace).await;
    fill(&store, &page(7, 1), "old").await;
    in_step(&group);
    group.servers[0].stop();
    until(&store, false).await;
    let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
    joined(&store).await;
    invalidate(&store, page(7, 1).into_entry()).await;
    group.servers[0].cont();
    let role = group.servers[0].cli(&["ROLE"]);
    assert!(role.contains("master") && holds(&group.servers[0], &namespace, "page:7:1"), "as before: {role}");
    fill(&store, &page(7, 2), "new").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(hit(&store, &page(7, 1)).await, None);
        assert_eq!(hit(&store, &page(7, 2)).await.as_deref(), Some("new"));
        let another = connect(&group.url(), &namespace).await;
        assert_eq!(hit(&another, &page(7, 2)).await.as_deref(), Some("new"), "joined the new one");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(group.servers[0].cli(&["ROLE"]).contains("master"), "nobody has told the old primary yet");
    assert!(holds(&group.servers[next], &namespace, "page:7:2"));
}

#[tokio::test]
async fn a_primary_that_does_not_know_of_its_successor_is_left_by_the_word_of_the_sentinels() {
    for options in ["", "?protocol=resp2"] {
        let Some(group) = stubborn() else { return };
        let namespace = unique("test");
        let store = connect(&format!("{}{options}", group.url()), &namespace).await;
        fill(&store, &page(7, 1), "old").await;
        in_step(&group);
        group.fail_over();
        let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
        until_on(&store, &group.servers[next], &namespace).await;
        let role = group.servers[0].cli(&["ROLE"]);
        assert!(role.contains("master") && holds(&group.servers[0], &namespace, "page:7:1"), "as before: {role}");
        assert_eq!(hit(&store, &page(7, 1)).await, None, "fenced");
    }
}

#[tokio::test]
async fn what_a_deposed_primary_acknowledges_does_not_count() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    let store = connect(&group.url(), &namespace).await;
    in_step(&group);
    fail_over_unnoticed(&group);
    let other = tokio::task::spawn_blocking({
        let (url, namespace) = (group.url(), namespace.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let other = connect(&url, &namespace).await;
                fill(&other, &page(7, 1), "old").await;
            });
        }
    });
    // Without an await in between: the store's own task has not run.
    while !other.is_finished() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(store.invalidate(&[page(7, 1).into_entry()]).await.unwrap(), Outcome::Journaled);
    joined(&store).await;
    assert_eq!(hit(&store, &page(7, 1)).await, None);
    assert_eq!(hit(&connect(&group.url(), &namespace).await, &page(7, 1)).await, None);
}

#[tokio::test]
async fn one_sentinel_that_knows_more_is_enough() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    let store = connect(&group.url(), &namespace).await;
    in_step(&group);
    let next = fail_over_unnoticed(&group);
    group.sentinels[1..].iter().for_each(RedisServer::stop);
    until_on(&store, &group.servers[next], &namespace).await;
}

#[tokio::test]
async fn a_hold_on_a_deposed_primary_is_none() {
    let Some(group) = stubborn() else { return };
    let store = connect(&group.url(), &unique("test")).await;
    in_step(&group);
    fail_over_unnoticed(&group);
    let held = store.hold(&[page(7, 1).into_entry()], HolderId::new(), LEASE).await;
    assert!(matches!(held, Err(StoreError::Unavailable)), "{held:?}");
}

#[tokio::test]
async fn a_primary_that_is_deposed_while_it_is_joined_is_not_used() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    in_step(&group);
    group.servers[0].stop();
    let config = RedisConfig::new(group.url()).namespace(&namespace).connect_timeout(Duration::from_secs(60));
    // It waits for the one that is stopped.
    let connecting = tokio::spawn(RedisStore::connect(config));
    let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
    group.servers[0].cont();
    let store = connecting.await.unwrap().expect("that it is not there is no error");
    joined(&store).await;
    fill(&store, &page(7, 1), "one").await;
    assert!(holds(&group.servers[next], &namespace, "page:7:1"));
}

#[tokio::test]
async fn a_primary_that_comes_back_to_power_as_it_was_is_cold() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    let store = connect(&group.url(), &namespace).await;
    fill(&store, &page(7, 1), "old").await;
    in_step(&group);
    // Nobody but the first two can be elected.
    assert_eq!(group.servers[2].cli(&["CONFIG", "SET", "replica-priority", "0"]), "+OK");
    tokio::time::sleep(Duration::from_secs(2)).await;
    group.fail_over();
    let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
    assert_eq!(next, 1);
    until_on(&store, &group.servers[1], &namespace).await;
    invalidate(&store, page(7, 1).into_entry()).await;
    drop(store);
    group.fail_over();
    let (group, next) = blocking(group, |group| group.wait_for_failover(1)).await;
    assert_eq!(next, 0);
    assert!(holds(&group.servers[0], &namespace, "page:7:1"), "it has not heard of the invalidation");
    for _ in 0..2 {
        let fresh = connect(&group.url(), &namespace).await;
        until_on(&fresh, &group.servers[0], &namespace).await;
        assert_eq!(hit(&fresh, &page(7, 1)).await, None, "invalidated while another was the primary");
    }
    // Once is enough.
    let first = connect(&group.url(), &namespace).await;
    fill(&first, &page(7, 2), "new").await;
    let second = connect(&group.url(), &namespace).await;
    assert_eq!(hit(&second, &page(7, 2)).await.as_deref(), Some("new"));
}
