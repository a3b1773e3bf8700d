//! Invalidations in a real Redis, against loads in flight.

mod common;

use cache_core::{
    Key, Outcome, Store, Tag, Target,
    store::{Acquired, Filled},
};
use common::*;
use test_support::RedisServer;

fn node(owner: i32) -> Target {
    Key::new("page").arg(&owner).into_node()
}

fn tag(owner: i32) -> Target {
    Target::Tag(Tag::new("owner:").arg(&owner))
}

fn glob(pattern: &str) -> Target {
    Target::Glob(pattern.to_owned())
}

#[tokio::test]
async fn a_load_that_began_before_is_refused_and_the_value_is_gone() {
    let ground = Ground::shared().await;
    let other = ground.another().await;
    let (store, key) = (&ground.store, page(7, 1));
    let targets =
        [key.clone().into_entry(), node(7), Key::new("page").into_node(), tag(7), glob("page:*"), Target::All];
    for target in targets {
        fill(store, &key, "old").await;
        invalidate(&other, target.clone()).await;
        assert_eq!(hit(store, &key).await, None, "{target}");
        let lease = lease(store, &key).await;
        invalidate(&other, target.clone()).await;
        assert_eq!(store.fill(&key, &lease, bytes("late"), TTL).await.unwrap(), Filled::Refused, "{target}");
        assert_eq!(hit(store, &key).await, None, "{target}");
        assert!(matches!(store.acquire(&key, LOAD, LEASE).await.unwrap(), Acquired::Lease(_)), "{target}: at once");
        invalidate(store, Target::All).await;
    }
}

#[tokio::test]
async fn what_an_operator_deletes_is_invalid() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    for name in ["page:7:1", "page#g", "page:7#g", "#tag:owner:7#g", "#root"] {
        fill(store, &key, "old").await;
        ground.cli(&["UNLINK", &ground.name(name)]);
        assert_eq!(hit(store, &key).await, None, "{name}");
        let lease = lease(store, &key).await;
        ground.cli(&["UNLINK", &ground.name(name)]);
        assert_eq!(store.fill(&key, &lease, bytes("late"), TTL).await.unwrap(), Filled::Refused, "{name}");
        invalidate(store, Target::All).await;
    }
}

#[tokio::test]
async fn a_flush_invalidates_everything() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    let (store, key) = (&ground.store, page(7, 1));
    fill(store, &key, "old").await;
    let before = lease(store, &page(7, 2)).await;
    server.cli(&["FLUSHALL"]);
    assert_eq!(hit(store, &key).await, None);
    assert_eq!(store.fill(&page(7, 2), &before, bytes("late"), TTL).await.unwrap(), Filled::Refused);
    fill(store, &key, "new").await;
    assert_eq!(hit(store, &key).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_node_reaches_what_is_below_it_and_nothing_else() {
    let ground = Ground::shared().await;
    let store = &ground.store;
    let below = [page(7, 1), page(7, 70), Key::new("page").arg(&7)];
    let beside = [page(70, 1), page(8, 7), Key::new("page").arg(&8), Key::new("pages").arg(&7)];
    for key in below.iter().chain(&beside) {
        fill(store, key, "one").await;
    }
    invalidate(store, node(7)).await;
    for key in &below {
        assert_eq!(hit(store, key).await, None, "{key}");
    }
    for key in &beside {
        assert!(hit(store, key).await.is_some(), "{key}");
    }
}

#[tokio::test]
async fn a_glob_reaches_its_own_namespace_only() {
    let ground = Ground::shared().await;
    let other = Ground::shared().await;
    // More than one step of the walk, so that what one step finds is removed by the next.
    let keys: Vec<_> = (0..1_500).map(|n| page(n, n % 2)).collect();
    for key in &keys {
        fill(&ground.store, key, "one").await;
    }
    fill(&other.store, &page(1, 1), "other").await;
    invalidate(&ground.store, glob("page:*:1")).await;
    for key in &keys {
        let expected = if key.as_str().ends_with(":1") { None } else { Some("one") };
        assert_eq!(hit(&ground.store, key).await.as_deref(), expected, "{key}");
    }
    invalidate(&ground.store, glob("*")).await;
    assert_eq!(hit(&ground.store, &keys[0]).await, None);
    assert_eq!(hit(&other.store, &page(1, 1)).await.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_namespace_with_glob_characters_stays_within_itself() {
    let url = test_support::shared_url();
    let wild = cache_redis::RedisStore::connect(config(&url, "[a-z]*?")).await.unwrap();
    let ground = Ground::shared().await;
    fill(&ground.store, &page(1, 1), "one").await;
    fill(&wild, &page(1, 1), "wild").await;
    invalidate(&wild, glob("*")).await;
    assert_eq!(hit(&wild, &page(1, 1)).await, None);
    assert!(hit(&ground.store, &page(1, 1)).await.is_some());
}

#[tokio::test]
async fn any_number_of_targets_is_one_round_trip() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    let targets: Vec<_> =
        (0..100).flat_map(|n| [page(n, 1).into_entry(), node(n), tag(n)]).chain([Target::All]).collect();
    server.cli(&["CONFIG", "RESETSTAT"]);
    assert_eq!(ground.store.invalidate(&targets).await.unwrap(), Outcome::Applied);
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
    // The other is the announcement, which goes with it.
    assert!(calls.starts_with("cmdstat_evalsha:calls=2,"), "{calls}");
}

#[tokio::test]
async fn more_targets_than_a_script_takes_are_all_removed() {
    let ground = Ground::shared().await;
    for n in [0, 1_999] {
        fill(&ground.store, &page(n, 1), "one").await;
    }
    let targets: Vec<_> = (0..2_000).map(|n| page(n, 1).into_entry()).collect();
    assert_eq!(ground.store.invalidate(&targets).await.unwrap(), Outcome::Applied);
    for n in [0, 1_999] {
        assert_eq!(hit(&ground.store, &page(n, 1)).await, None);
    }
}

#[tokio::test]
async fn a_replica_acknowledges_nothing() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    fill(&ground.store, &page(7, 1), "one").await;
    // Demoted while the connection lives. It refuses the write even where there is nothing to remove.
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(ground.store.invalidate(&[glob("nothing:*")]).await.unwrap(), Outcome::Journaled);
    let refused = ground.store.read(&page(7, 1)).await;
    assert!(matches!(refused, Err(cache_core::store::StoreError::Unavailable)), "{refused:?}");
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    until(&ground.store, true).await;
    assert_eq!(hit(&ground.store, &page(7, 1)).await, None, "another incarnation");
}

#[tokio::test]
async fn a_primary_without_its_replicas_acknowledges_nothing() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    fill(&ground.store, &page(7, 1), "old").await;
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(ground.store.invalidate(&[page(7, 1).into_entry()]).await.unwrap(), Outcome::Journaled);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(ground.store.read(&page(7, 1)).await.is_err(), "not trusted while it takes no writes");
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    until(&ground.store, true).await;
    assert_eq!(hit(&ground.store, &page(7, 1)).await, None);
}
