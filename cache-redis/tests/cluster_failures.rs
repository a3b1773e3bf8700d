//! Primaries of a cluster that are killed, hang, are replaced or come back from the past.

mod common;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use cache_core::{
    Key, Outcome, Store, Tag, Target,
    store::{Filled, Lease, Link, Read, StoreError},
};
use cache_redis::{ConnectError, OnFailover, RedisConfig, RedisStore};
use common::{clustered::*, *};
use test_support::{ClusterOptions, Promotion};

/// How long the link may take to be as asked: an election may need several rounds.
const PATIENCE: Duration = Duration::from_secs(60);

async fn becomes(store: &RedisStore, up: bool) {
    let mut link = store.link().expect("Redis can be out of reach");
    let reached = link.wait_for(|link| (*link == Link::Up) == up);
    drop(tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("up: {up}, in vain")));
}

/// One argument and no tag: all in one place.
fn simple(number: i32) -> Key {
    Key::new("simple").arg(&number)
}

/// Values on all primaries: pages with their tokens elsewhere, and entries with all in one place.
async fn fill_all(store: &RedisStore) {
    for number in 0..32 {
        fill(store, &page(number, 1), "old").await;
        fill(store, &simple(number), "old").await;
    }
}

/// What reads come to: how many hits among the pages, and among the others.
async fn hits(store: &RedisStore) -> (usize, usize) {
    let (mut pages, mut others) = (0, 0);
    for number in 0..32 {
        pages += usize::from(hit(store, &page(number, 1)).await.is_some());
        others += usize::from(hit(store, &simple(number)).await.is_some());
    }
    (pages, others)
}

/// How many of the entries that have all in one place are on this node.
fn others_on(ground: &Clustered, node: usize) -> usize {
    ground.find("simple:*").iter().filter(|spot| spot.node == node).count()
}

async fn late(store: &RedisStore, key: &Key, lease: &Lease) -> Filled {
    store.fill(key, lease, bytes("late"), TTL).await.expect("Redis answers")
}

/// A call is bounded whatever the servers do, here with much for a busy machine.
async fn bounded<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), call).await.expect("no call hangs")
}

fn targets() -> [Target; 3] {
    [page(1, 1).into_entry(), Key::new("page").arg(&2).into_node(), Target::Tag(Tag::new("owner:").arg(&3))]
}

async fn none_of_the_targets_is_served(store: &RedisStore) {
    for number in 1..=3 {
        assert_eq!(hit(store, &page(number, 1)).await, None, "{number} was invalidated");
    }
}

#[tokio::test]
async fn a_killed_primary_is_replaced_and_what_was_journaled_is_in_force() {
    let Some(mut ground) = Clustered::start(1) else { return };
    let (store, other) = (ground.store().await, ground.store().await);
    fill_all(&store).await;
    let lease = lease(&other, &page(1, 2)).await;
    let entry = ground.spot("page:1:1");
    let lost = others_on(&ground, entry.node);
    ground.cluster.nodes[entry.node].kill();
    becomes(&store, false).await;
    assert!(matches!(bounded(store.read(&page(5, 1))).await, Err(StoreError::Unavailable)), "also of other primaries");
    assert_eq!(bounded(store.invalidate(&targets())).await.unwrap(), Outcome::Journaled);
    assert_eq!(store.invalidate(&[page(1, 2).into_entry()]).await.unwrap(), Outcome::Journaled);
    let heir = ground.cluster.wait_for_failover(entry.slot, entry.node);
    for instance in [&store, &other] {
        becomes(instance, true).await;
        none_of_the_targets_is_served(instance).await;
    }
    assert_eq!(late(&other, &page(1, 2), &lease).await, Filled::Refused);
    assert_eq!(hits(&store).await.1, 32 - lost, "what the others have is as it was");
    invalidate(&store, Target::All).await;
    fill_all(&store).await;
    assert_eq!(hits(&other).await, (32, 32));
    assert!(others_on(&ground, heir) > 0);
    // The one that was killed comes back as a replica, and nobody minds.
    ground.cluster.nodes[entry.node].restart();
    ground.cluster.settle();
    assert_eq!(hits(&store).await, (32, 32));
}

/// All primaries are killed when they have acknowledged what their replicas have not heard of.
async fn lose(policy: OnFailover) -> Option<(Clustered, RedisStore)> {
    let mut ground = Clustered::start(1)?;
    let config = ground.config().call_timeout(Duration::from_secs(3)).on_failover(policy);
    let store = RedisStore::connect(config).await.unwrap();
    fill_all(&store).await;
    let lease = lease(&store, &page(1, 2)).await;
    // Long enough for the replicas' age to show that they were there before.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for primary in 0..3 {
        assert!(ground.cluster.nodes[primary].is_in_step(1, Duration::from_secs(30)));
        ground.cluster.nodes[primary + 3].stop();
        assert_eq!(ground.cli(primary, &["CLIENT", "KILL", "TYPE", "replica"]), ":1");
    }
    let lost: Vec<_> =
        ["page:1:1", "page:2#g", "#tag:owner:3#g", "page:1:2"].iter().map(|path| ground.spot(path)).collect();
    assert_eq!(store.invalidate(&targets()).await.unwrap(), Outcome::Applied);
    invalidate(&store, page(1, 2).into_entry()).await;
    for primary in 0..3 {
        ground.cluster.nodes[primary].kill();
        ground.cluster.nodes[primary + 3].cont();
    }
    for spot in lost {
        assert!(ground.has(spot.node + 3, &spot), "the replica has {} as it was", spot.name);
    }
    for replica in 3..6 {
        ground.cluster.try_promote(replica, Promotion::Takeover).unwrap();
    }
    becomes(&store, false).await;
    becomes(&store, true).await;
    assert_eq!(late(&store, &page(1, 2), &lease).await, Filled::Refused);
    none_of_the_targets_is_served(&store).await;
    Some((ground, store))
}

#[tokio::test]
async fn replicas_that_take_over_are_fenced() {
    let Some((_ground, store)) = lose(OnFailover::Fence).await else { return };
    assert_eq!(hits(&store).await, (0, 0), "everything counts as invalidated");
    fill_all(&store).await;
    assert_eq!(hits(&store).await, (32, 32));
}

#[tokio::test]
async fn replicas_that_take_over_are_trusted_but_for_what_they_may_have_missed() {
    let Some((ground, store)) = lose(OnFailover::Trust).await else { return };
    assert_eq!(hits(&store).await, (29, 32), "what nobody invalidated is still there");
    // For all who come later, too.
    let other = ground.store().await;
    assert_eq!(hits(&other).await, (29, 32));
    none_of_the_targets_is_served(&other).await;
}

#[tokio::test]
async fn a_commanded_failover_loses_nothing_that_is_trusted_and_fences_otherwise() {
    for policy in [OnFailover::Fence, OnFailover::Trust] {
        let Some(ground) = Clustered::start(1) else { return };
        let config = ground.config().call_timeout(Duration::from_secs(3)).on_failover(policy);
        let store = RedisStore::connect(config).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        fill_all(&store).await;
        let lease = lease(&store, &page(1, 2)).await;
        let entry = ground.spot("page:1:2");
        let lost = others_on(&ground, entry.node);
        ground.cluster.promote(entry.node + 3, Promotion::Agreed);
        becomes(&store, false).await;
        becomes(&store, true).await;
        let (pages, others) = hits(&store).await;
        match policy {
            OnFailover::Trust => assert_eq!((pages, others), (32, 32)),
            _ => assert_eq!(others, 32 - lost, "of {pages} pages"),
        }
        invalidate(&store, page(1, 2).into_entry()).await;
        assert_eq!(late(&store, &page(1, 2), &lease).await, Filled::Refused, "{policy:?}");
    }
}

#[tokio::test]
async fn without_a_replica_the_store_is_out_of_reach_until_its_primary_is_back() {
    let options = ClusterOptions { replicas: 0, node_timeout_ms: 1_000, ..Default::default() };
    let Some(mut ground) = Clustered::with(options) else { return };
    let store = ground.store().await;
    fill_all(&store).await;
    let entry = ground.spot("page:1:1");
    let lost = others_on(&ground, entry.node);
    ground.cluster.nodes[entry.node].kill();
    becomes(&store, false).await;
    // Also when the others say that the cluster is down.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(bounded(store.read(&simple(1))).await, Err(StoreError::Unavailable)));
    assert_eq!(bounded(store.invalidate(&[simple(1).into_entry()])).await.unwrap(), Outcome::Journaled);
    ground.cluster.nodes[entry.node].restart();
    becomes(&store, true).await;
    assert_eq!(hit(&store, &simple(1)).await, None, "it was replayed");
    let (_, others) = hits(&store).await;
    assert!(others <= 32 - lost && others >= 31 - lost, "{others}: what the others have is as it was");
    fill_all_missing(&store).await;
    assert_eq!(hits(&store).await, (32, 32));
}

async fn fill_all_missing(store: &RedisStore) {
    for number in 0..32 {
        for key in [page(number, 1), simple(number)] {
            if hit(store, &key).await.is_none() {
                fill(store, &key, "new").await;
            }
        }
    }
}

#[tokio::test]
async fn a_primary_that_restarts_from_an_old_file_serves_nothing_of_it() {
    for policy in [OnFailover::Fence, OnFailover::Trust] {
        let Some(mut ground) = Clustered::start(0) else { return };
        let config = ground.config().call_timeout(Duration::from_secs(3)).on_failover(policy);
        let (store, other) = (RedisStore::connect(config).await.unwrap(), ground.store().await);
        fill_all(&store).await;
        for node in &ground.cluster.nodes {
            assert!(node.save());
        }
        // By another instance: this one remembers nothing that it could say again.
        assert_eq!(other.invalidate(&targets()).await.unwrap(), Outcome::Applied);
        drop(other);
        for node in &mut ground.cluster.nodes {
            node.kill();
        }
        becomes(&store, false).await;
        for node in &mut ground.cluster.nodes {
            node.restart();
        }
        becomes(&store, true).await;
        none_of_the_targets_is_served(&store).await;
        assert_eq!(hits(&store).await, (0, 0), "{policy:?}");
    }
}

#[tokio::test]
async fn a_primary_that_hangs_costs_few_calls_their_bound_and_its_values_are_there_when_it_goes_on() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = RedisStore::connect(ground.config()).await.unwrap();
    fill_all(&store).await;
    let entry = ground.spot("page:1:1");
    ground.cluster.nodes[entry.node].stop();
    let (began, mut waited) = (Instant::now(), 0);
    while *store.link().unwrap().borrow() == Link::Up {
        waited += u32::from(bounded(store.read(&page(1, 1))).await.is_err());
        assert!(began.elapsed() < PATIENCE);
    }
    assert!(waited <= 3, "{waited} calls have waited for it");
    assert_eq!(bounded(store.invalidate(&targets())).await.unwrap(), Outcome::Journaled);
    ground.cluster.nodes[entry.node].cont();
    becomes(&store, true).await;
    none_of_the_targets_is_served(&store).await;
    assert_eq!(hits(&store).await, (29, 32), "it is the same server");
}

#[tokio::test]
async fn a_primary_that_was_replaced_while_it_hung_serves_nothing_when_it_goes_on() {
    let Some(ground) = Clustered::start(1) else { return };
    let other = RedisStore::connect(ground.config()).await.unwrap();
    fill_all(&other).await;
    // It notices before an election could be over.
    let store = RedisStore::connect(ground.config().call_timeout(Duration::from_millis(100))).await.unwrap();
    let entry = ground.spot("page:1:1");
    ground.cluster.nodes[entry.node].stop();
    becomes(&other, false).await;
    ground.cluster.wait_for_failover(entry.slot, entry.node);
    becomes(&other, true).await;
    invalidate(&other, Target::Glob("page:*".to_owned())).await;
    ground.cluster.nodes[entry.node].cont();
    for _ in 0..200 {
        if let Ok(read) = bounded(store.read(&page(1, 1))).await {
            assert!(!matches!(read, Read::Hit(_)), "from a server that others have replaced");
        }
    }
    let began = Instant::now();
    for number in 0..32 {
        let read = loop {
            match bounded(store.read(&page(number, 1))).await {
                Ok(read) => break read,
                // It is not patient.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            assert!(began.elapsed() < PATIENCE);
        };
        assert!(!matches!(read, Read::Hit(_)), "{number}");
    }
}

/// Neither a vote nor silence tells such a primary that it was replaced: it goes on to take writes.
#[tokio::test]
async fn a_primary_that_does_not_know_that_it_was_replaced_is_left_within_a_second_or_two() {
    let Some(ground) = Clustered::start(1) else { return };
    let store = ground.store().await;
    fill_all(&store).await;
    let entry = ground.spot("page:1:1");
    // It takes no notice of the others, and serves its part without them.
    assert_eq!(ground.cli(entry.node, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]), "+OK");
    for node in (0..6).filter(|node| *node != entry.node) {
        let id = ground.cli(node, &["CLUSTER", "MYID"]);
        assert_eq!(ground.cli(entry.node, &["CLUSTER", "FORGET", &id]), "+OK");
    }
    let heir = entry.node + 3;
    ground.cluster.try_promote(heir, Promotion::Takeover).unwrap();
    // By the old one, or in time for the new one: either way the new one hears of it.
    store.invalidate(&targets()).await.unwrap();
    let other = loop {
        // The old one is no way in.
        match RedisStore::connect(ground.config()).await {
            Ok(other) => break other,
            Err(error) => assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}"),
        }
    };
    invalidate(&other, Target::Glob("*".to_owned())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    becomes(&store, true).await;
    assert_eq!(hits(&store).await, (0, 0));
    fill_all(&store).await;
    assert_eq!(hits(&other).await, (32, 32));
    assert!(ground.cluster.nodes[heir].cli(&["DBSIZE"]) != ":0", "both are on the new one");
    assert_eq!(ground.cli(entry.node, &["SET", &entry.name, "x"]), "+OK", "the old one has not noticed");
}

#[tokio::test]
async fn the_cluster_is_found_by_any_of_its_nodes_also_when_those_of_the_address_are_gone() {
    let Some(mut ground) = Clustered::start(1) else { return };
    // By a replica.
    let config = RedisConfig::cluster([format!("127.0.0.1:{}", ground.cluster.nodes[3].port())]);
    let config = config.namespace(&ground.namespace).call_timeout(Duration::from_secs(3)).require();
    let store = RedisStore::connect(config).await.unwrap();
    fill_all(&store).await;
    ground.cluster.nodes[3].kill();
    let entry = ground.spot("page:1:1");
    // Whoever has no replica left stays.
    let gone = if entry.node == 0 { 1 } else { entry.node };
    let moved = ground.find("simple:*").into_iter().find(|spot| spot.node == gone).expect("each has something");
    ground.cluster.nodes[gone].kill();
    becomes(&store, false).await;
    ground.cluster.wait_for_failover(moved.slot, gone);
    becomes(&store, true).await;
    fill_all_missing(&store).await;
    assert_eq!(hits(&store).await, (32, 32));
}

#[tokio::test]
async fn a_cluster_that_is_not_there_at_the_start_is_joined_when_it_comes() {
    let Some(mut ground) = Clustered::start(0) else { return };
    for node in &mut ground.cluster.nodes {
        node.kill();
    }
    let error = RedisStore::connect(ground.config()).await.expect_err("it is required");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let config =
        RedisConfig::new(ground.cluster.url()).namespace(&ground.namespace).call_timeout(Duration::from_secs(3));
    let store = RedisStore::connect(config).await.expect("it starts without");
    assert_eq!(store.invalidate(&targets()).await.unwrap(), Outcome::Journaled);
    for node in &mut ground.cluster.nodes {
        node.restart();
    }
    becomes(&store, true).await;
    fill_all(&store).await;
    assert_eq!(hits(&store).await, (32, 32));
}

#[tokio::test]
async fn a_password_is_used_for_all_nodes_and_a_wrong_one_is_an_error() {
    let options = ClusterOptions { replicas: 0, password: Some("hunter2".to_owned()), ..Default::default() };
    let Some(ground) = Clustered::with(options) else { return };
    let store = ground.store().await;
    fill_all(&store).await;
    assert_eq!(hits(&store).await, (32, 32));
    for url in [ground.cluster.url().replace("hunter2", "hunter3"), ground.cluster.url().replace(":hunter2@", "")] {
        let error = RedisStore::connect(RedisConfig::new(url)).await.expect_err("it is wrong");
        assert!(matches!(error, ConnectError::Auth { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter3"));
    }
}
