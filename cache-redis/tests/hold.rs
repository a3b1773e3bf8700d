//! Quarantines in a real Redis: what a hold costs and survives, and what a loss of it costs.

mod common;

use std::time::Duration;

use cache_core::{
    Key, Outcome, Store, Tag, Target,
    store::{Acquired, Filled, HolderId, Read, StoreError},
};
use cache_redis::RedisStore;
use common::*;
use test_support::{RedisServer, unique};

const HOLD: Duration = Duration::from_secs(10);

async fn is_held(store: &RedisStore, key: &Key) -> bool {
    let held = matches!(store.read(key).await.expect("Redis answers"), Read::Held);
    let acquired = store.acquire(key, LOAD, LEASE).await.expect("Redis answers");
    assert_eq!(held, matches!(acquired, Acquired::Held), "{acquired:?}");
    held
}

fn targets() -> [Target; 3] {
    let node = Key::new("page").arg(&7).into_node();
    [page(7, 1).into_entry(), node, Target::Tag(Tag::new("owner:").arg(&7))]
}

#[tokio::test]
async fn a_quarantine_is_seen_by_every_instance_and_lives_as_long_as_its_longest_term() {
    let ground = Ground::shared().await;
    let other = ground.another().await;
    for (target, name) in targets().into_iter().zip(["page:7:1", "page:7#g", "#tag:owner:7#g"]) {
        let targets = [target];
        let (one, two) = (HolderId::new(), HolderId::new());
        ground.store.hold(&targets, one, HOLD * 2).await.unwrap();
        other.hold(&targets, two, HOLD).await.unwrap();
        assert!(is_held(&ground.store, &page(7, 1)).await && is_held(&other, &page(7, 1)).await);
        let lives = || ground.cli(&["PTTL", &ground.name(name)])[1..].parse::<u64>().unwrap();
        assert!((15_000..=20_000).contains(&lives()), "{}", lives());
        assert_eq!(ground.store.release_hold(&targets, one).await.unwrap(), Outcome::Applied);
        assert!((5_000..=10_000).contains(&lives()), "{}", lives());
        assert!(is_held(&ground.store, &page(7, 1)).await);
        assert_eq!(other.release_hold(&targets, two).await.unwrap(), Outcome::Applied);
        fill(&ground.store, &page(7, 1), "new").await;
        assert!(hit(&other, &page(7, 1)).await.is_some());
        invalidate(&other, Target::All).await;
    }
}

/// Holders come, lapse and go in any order, and the key says exactly who is left.
#[tokio::test]
async fn many_writers_are_on_one_target() {
    let ground = Ground::shared().await;
    let targets = [page(7, 1).into_entry()];
    let (mut there, mut lapsing) = (Vec::new(), Vec::new());
    for n in 0..120 {
        let holder = HolderId::new();
        let lapses = n % 5 == 0;
        ground.store.hold(&targets, holder, if lapses { Duration::from_millis(1) } else { HOLD }).await.unwrap();
        if lapses {
            lapsing.push(holder);
        } else {
            there.push(holder);
        }
        if let Some(early) = there.get(n / 2) {
            ground.store.hold(&targets, *early, HOLD).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    fastrand::shuffle(&mut there);
    while let Some(holder) = there.pop() {
        assert!(is_held(&ground.store, &page(7, 1)).await);
        assert_eq!(ground.store.release_hold(&targets, holder).await.unwrap(), Outcome::Applied);
        let length = ground.cli(&["STRLEN", &ground.name("page:7:1")])[1..].parse::<usize>().unwrap();
        assert_eq!(length, if there.is_empty() { 0 } else { 1 + 46 * there.len() });
    }
    assert!(!is_held(&ground.store, &page(7, 1)).await);
    assert_eq!(ground.store.release_hold(&targets, lapsing[0]).await.unwrap(), Outcome::Applied);
}

#[tokio::test]
async fn a_quarantine_that_is_lost_costs_no_more_than_itself() {
    let ground = Ground::shared().await;
    let key = page(7, 1);
    for (target, name) in targets().into_iter().zip(["page:7:1", "page:7#g", "#tag:owner:7#g"]) {
        let (targets, holder) = ([target], HolderId::new());
        fill(&ground.store, &key, "old").await;
        let running = page(7, 1);
        ground.store.hold(&targets, holder, HOLD).await.unwrap();
        ground.cli(&["UNLINK", &ground.name(name)]);
        assert_eq!(hit(&ground.store, &running).await, None, "{name}");
        // A load from after the loss may be older than what the holder writes.
        let lease = lease(&ground.store, &key).await;
        ground.store.hold(&targets, holder, HOLD).await.unwrap();
        let filled = ground.store.fill(&key, &lease, bytes("late"), TTL).await.unwrap();
        assert_eq!(filled, Filled::Refused, "{name}: held again");
        assert_eq!(ground.store.release_hold(&targets, holder).await.unwrap(), Outcome::Applied);
        assert_eq!(hit(&ground.store, &key).await, None);
    }
}

#[tokio::test]
async fn what_an_operator_left_in_the_place_gives_way() {
    let ground = Ground::shared().await;
    let name = ground.name("page:7:1");
    let targets = [page(7, 1).into_entry()];
    for garbage in [["SET", &name, "Q"], ["SET", &name, "Qwho?"], ["LPUSH", &name, "x"], ["SET", &name, "hello"]] {
        ground.cli(&["UNLINK", &name]);
        ground.cli(&garbage);
        let holder = HolderId::new();
        ground.store.hold(&targets, holder, HOLD).await.unwrap();
        assert!(is_held(&ground.store, &page(7, 1)).await);
        assert_eq!(ground.store.release_hold(&targets, holder).await.unwrap(), Outcome::Applied);
        assert_eq!(ground.cli(&["EXISTS", &name]), ":0", "{garbage:?}");
    }
}

#[tokio::test]
async fn many_targets_are_one_round_trip() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    let targets: Vec<_> =
        (0..100).flat_map(|n| [page(n, 1).into_entry(), Key::new("page").arg(&n).into_node()]).collect();
    server.cli(&["CONFIG", "RESETSTAT"]);
    let holder = HolderId::new();
    ground.store.hold(&targets, holder, HOLD).await.unwrap();
    assert_eq!(ground.store.release_hold(&targets, holder).await.unwrap(), Outcome::Applied);
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
    // Each with an announcement, which goes with it.
    assert!(calls.starts_with("cmdstat_evalsha:calls=4,"), "{calls}");
}

#[tokio::test]
async fn a_redis_that_is_full_takes_holds_and_releases() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    let targets = [page(7, 1).into_entry(), Key::new("page").into_node()];
    let (one, two) = (HolderId::new(), HolderId::new());
    fill(&ground.store, &page(8, 1), "old").await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    for holder in [one, two] {
        ground.store.hold(&targets, holder, HOLD).await.unwrap();
    }
    let full = ground.store.acquire(&Key::new("other"), LOAD, LEASE).await;
    assert!(matches!(full, Err(StoreError::Failed(_))), "{full:?}");
    for holder in [one, two] {
        assert!(matches!(ground.store.read(&page(8, 1)).await, Ok(Read::Held)));
        assert_eq!(ground.store.release_hold(&targets, holder).await.unwrap(), Outcome::Applied);
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(hit(&ground.store, &page(8, 1)).await, None);
    fill(&ground.store, &page(8, 1), "new").await;
}

#[tokio::test]
async fn a_redis_out_of_reach_takes_no_hold_and_its_release_is_replayed_with_the_holder() {
    let server = RedisServer::start();
    let (ours, url) = server.behind_proxy();
    let namespace = unique("test");
    let store = RedisStore::connect(config(&url, &namespace)).await.unwrap();
    let other = RedisStore::connect(config(&server.url(), &namespace)).await.unwrap();
    let key = page(7, 1);
    fill(&store, &key, "old").await;
    let (targets, mine, theirs) = (targets(), HolderId::new(), HolderId::new());
    store.hold(&targets, mine, HOLD).await.unwrap();
    other.hold(&targets[..1], theirs, HOLD).await.unwrap();
    ours.cut();
    until(&store, false).await;
    let refused = store.hold(&targets, mine, HOLD).await;
    assert!(matches!(refused, Err(StoreError::Unavailable)), "{refused:?}");
    assert_eq!(store.release_hold(&targets, mine).await.unwrap(), Outcome::Journaled);
    assert!(is_held(&other, &key).await);
    ours.resume();
    until(&store, true).await;
    // Released by the replay, not by the lapse: but for the other's.
    assert!(is_held(&store, &key).await);
    fill(&store, &page(7, 2), "new").await;
    assert_eq!(other.release_hold(&targets[..1], theirs).await.unwrap(), Outcome::Applied);
    assert!(!is_held(&store, &key).await);
}

#[tokio::test]
async fn a_hold_without_an_answer_is_not_held_and_lapses_where_it_had_worked() {
    let server = RedisServer::start();
    let (ours, url) = server.behind_proxy();
    let namespace = unique("test");
    let brief = Duration::from_millis(50);
    let store = RedisStore::connect(config(&url, &namespace).call_timeout(brief)).await.unwrap();
    let other = RedisStore::connect(config(&server.url(), &namespace)).await.unwrap();
    fill(&store, &page(7, 1), "old").await;
    ours.delay(brief * 2);
    let unknown = store.hold(&targets(), HolderId::new(), Duration::from_millis(300)).await;
    assert!(matches!(unknown, Err(StoreError::Timeout)), "{unknown:?}");
    let began = std::time::Instant::now();
    let key = page(7, 1);
    while !matches!(other.read(&key).await, Ok(Read::Held)) {
        assert!(began.elapsed() < BACK, "it did arrive");
        invalidate(&other, Target::All).await;
    }
    while matches!(other.read(&key).await, Ok(Read::Held)) {
        assert!(began.elapsed() < BACK, "it lapses");
    }
    assert_eq!(hit(&other, &page(7, 1)).await, None);
}

const BACK: Duration = Duration::from_secs(2);
