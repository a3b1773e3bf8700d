//! Slots that move between primaries: what is on its way, what has arrived, and what went back.

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{
    Key, Outcome, Store, Tag, Target,
    store::{Acquired, Filled, HolderId, Lease, Link, Read, StoreError},
};
use cache_redis::RedisStore;
use common::{clustered::*, *};
use test_support::Migration;

/// What a read comes to that may find its slot on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Value,
    Nothing,
    /// Not to be stored either.
    Held,
}

/// On a busy machine the store may have to connect again in between, and serves nothing until it has.
async fn look(store: &RedisStore, key: &Key) -> Seen {
    let began = Instant::now();
    loop {
        match store.read(key).await {
            Ok(Read::Hit(_)) => return Seen::Value,
            Ok(Read::Miss { .. }) => return Seen::Nothing,
            Ok(Read::Held) => return Seen::Held,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "Redis does not answer: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks again while nothing can be had, for a while: right after a move servers may be at odds over who owns the slot.
async fn patiently<T>(what: &Key, mut ask: impl AsyncFnMut() -> Result<Option<T>, StoreError>) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(Some(answer)) => return answer,
            Ok(None) | Err(StoreError::Unavailable) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{what}: {error}"),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{what} is held for ever, or out of reach");
    }
}

/// A lease, as soon as nothing is on its way any more.
async fn granted(store: &RedisStore, key: &Key) -> Lease {
    let ask = async || match store.acquire(key, LOAD, LEASE).await? {
        Acquired::Lease(lease) => Ok(Some(lease)),
        Acquired::Held => Ok(None),
        other => panic!("no lease on {key}: {other:?}"),
    };
    patiently(key, ask).await
}

/// Stores a value, as soon as nothing is on its way any more.
async fn put(store: &RedisStore, key: &Key, value: &str) {
    let lease = granted(store, key).await;
    // The same may be sent again: what is stored under its lease is stored.
    let fill = async || Ok(Some(store.fill(key, &lease, bytes(value), TTL).await?));
    assert_eq!(patiently(key, fill).await, Filled::Stored);
}

/// Waits until the store has noticed that a move is over, and returns what is there then.
async fn settled(store: &RedisStore, key: &Key) -> Seen {
    let began = Instant::now();
    loop {
        match look(store, key).await {
            Seen::Held => {}
            seen => return seen,
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{key} is held for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_up(store: &RedisStore) -> bool {
    *store.link().expect("Redis can be out of reach").borrow() == Link::Up
}

fn key() -> Key {
    page(7, 1)
}

fn targets() -> [Target; 6] {
    [
        key().into_entry(),
        Key::new("page").arg(&7).into_node(),
        Target::Tag(Tag::new("owner:").arg(&7)),
        Key::new("page").into_node(),
        Target::Glob("page:7:*".to_owned()),
        Target::All,
    ]
}

/// Declares the slot of a key as on its way to the next primary.
fn begin(ground: &Clustered, of: &Spot) -> Migration {
    ground.begin(of, (of.node + 1) % 3)
}

/// Which keys have gone already when it is looked.
const GONE: [&[&str]; 5] = [&[], &["page:7:1"], &["#root"], &["page#g"], &["page:7:1", "#root", "page#g"]];

/// Carries those keys that are in the slot.
fn carry(ground: &Clustered, migration: Migration, paths: &[&str]) {
    for path in paths {
        for spot in ground.find(path).iter().filter(|spot| spot.slot == migration.slot && spot.node == migration.from) {
            ground.carry(&spot.name, migration.from, migration.to);
        }
    }
}

#[tokio::test]
async fn a_slot_that_has_moved_is_cold_and_used_at_its_new_owner_by_all() {
    let Some(ground) = Clustered::start(0) else { return };
    let (store, other) = (ground.store().await, ground.store().await);
    for path in ["page:7:1", "page:7#g", "#tag:owner:7#g"] {
        invalidate(&store, Target::All).await;
        put(&store, &key(), "old").await;
        let late = granted(&other, &page(7, 2)).await;
        let moved = ground.spot(path);
        ground.finish(begin(&ground, &moved));
        for instance in [&store, &other] {
            assert_eq!(settled(instance, &key()).await, Seen::Nothing, "{path}");
        }
        // Either its own partition has not moved, or nothing of it counts any more.
        let filled = other.fill(&page(7, 2), &late, bytes("late"), TTL).await.unwrap();
        assert!(filled == Filled::Stored || path != "page:7:1" || look(&other, &page(7, 2)).await != Seen::Value);
        put(&store, &key(), "new").await;
        assert_eq!(settled(&other, &key()).await, Seen::Value, "{path}");
        assert_ne!(ground.spot(path).node, moved.node);
        for target in targets() {
            invalidate(&other, target.clone()).await;
            assert_eq!(settled(&store, &key()).await, Seen::Nothing, "{path}: {target}");
            put(&store, &key(), "newer").await;
        }
        assert!(is_up(&store) && is_up(&other), "nobody had to connect again");
    }
}

#[tokio::test]
async fn nothing_is_read_from_a_slot_on_its_way_unless_all_of_it_is_there_and_nothing_is_stored() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = ground.store().await;
    for gone in GONE {
        invalidate(&store, Target::All).await;
        put(&store, &key(), "old").await;
        let late = granted(&store, &page(7, 2)).await;
        let migration = begin(&ground, &ground.spot("page:7:1"));
        carry(&ground, migration, gone);
        // With nothing gone it is served until the store has noticed.
        let seen = look(&store, &key()).await;
        assert!(seen == Seen::Held || gone.is_empty() && seen == Seen::Value, "{gone:?}: {seen:?}");
        if !gone.is_empty() {
            let acquired = store.acquire(&key(), LOAD, LEASE).await.unwrap();
            assert!(matches!(acquired, Acquired::Held), "{gone:?}: {acquired:?}");
        }
        // One that is in another slot has nothing to do with it.
        assert_eq!(store.fill(&page(7, 2), &late, bytes("value"), TTL).await.unwrap(), Filled::Stored);
        assert_eq!(look(&store, &page(7, 2)).await, Seen::Value, "{gone:?}");
        ground.cluster.finish_migration(migration).unwrap();
        assert_eq!(settled(&store, &key()).await, Seen::Nothing, "{gone:?}: the root is of another server");
        put(&store, &key(), "new").await;
        assert!(is_up(&store));
    }
}

#[tokio::test]
async fn a_load_across_a_move_stores_nothing() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = ground.store().await;
    for gone in GONE {
        invalidate(&store, Target::All).await;
        let late = granted(&store, &key()).await;
        let migration = begin(&ground, &ground.spot("page:7:1"));
        carry(&ground, migration, gone);
        if !gone.is_empty() {
            assert_eq!(store.fill(&key(), &late, bytes("late"), TTL).await.unwrap(), Filled::Refused, "{gone:?}");
        }
        if gone.contains(&"page:7:1") {
            assert!(!store.renew(&key(), &late, LEASE).await.unwrap());
        }
        ground.cluster.finish_migration(migration).unwrap();
        settled(&store, &key()).await;
        // The lease has arrived too, and nothing has invalidated it; the root is of another server all the same.
        store.fill(&key(), &late, bytes("late"), TTL).await.unwrap();
        assert_eq!(look(&store, &key()).await, Seen::Nothing, "{gone:?}");
    }
}

/// In every state of the move, for every target and every way in which it may end.
#[tokio::test]
async fn an_invalidation_in_a_slot_on_its_way_is_applied_and_stays_in_force() {
    let Some(ground) = Clustered::start(0) else { return };
    let (store, other) = (ground.store().await, ground.store().await);
    for moved in ["page:7:1", "page:7#g", "#tag:owner:7#g"] {
        for target in targets() {
            for (number, gone) in GONE.into_iter().chain([&["page:7#g", "#tag:owner:7#g"][..]]).enumerate() {
                let at = format!("{moved} moves, {gone:?} is gone, {target}");
                invalidate(&store, Target::All).await;
                put(&store, &key(), "old").await;
                let migration = begin(&ground, &ground.spot(moved));
                carry(&ground, migration, gone);
                invalidate(&store, target.clone()).await;
                for instance in [&store, &other] {
                    assert_ne!(look(instance, &key()).await, Seen::Value, "{at}");
                }
                if number % 2 == 0 {
                    ground.cluster.finish_migration(migration).unwrap();
                } else {
                    ground.abandon(migration);
                }
                for instance in [&store, &other] {
                    assert_eq!(settled(instance, &key()).await, Seen::Nothing, "{at}, afterwards");
                }
            }
        }
    }
    assert!(is_up(&store) && is_up(&other), "nobody had to connect again");
}

/// A step that failed midway leaves a key on both sides.
#[tokio::test]
async fn what_a_failed_step_of_a_move_has_left_behind_is_not_served() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = ground.store().await;
    for target in targets() {
        invalidate(&store, Target::All).await;
        put(&store, &key(), "old").await;
        let spot = ground.spot("page:7:1");
        let migration = begin(&ground, &spot);
        let port = ground.cluster.nodes[migration.to].port().to_string();
        for name in [spot.name.clone(), spot.root()] {
            let copied = ground.cli(spot.node, &["MIGRATE", "127.0.0.1", &port, &name, "0", "1000", "COPY"]);
            assert_eq!(copied, "+OK");
        }
        invalidate(&store, target.clone()).await;
        assert_ne!(look(&store, &key()).await, Seen::Value, "{target}");
        // What is on the other side counts.
        for name in [&spot.name, &spot.root()] {
            ground.cli(spot.node, &["UNLINK", name]);
        }
        ground.cluster.finish_migration(migration).unwrap();
        assert_eq!(settled(&store, &key()).await, Seen::Nothing, "{target}");
    }
}

/// What the old owner invalidates when it has forgotten of the move must not come back.
#[tokio::test]
async fn what_is_carried_back_when_a_move_is_given_up_is_what_was_not_invalidated() {
    let Some(ground) = Clustered::start(0) else { return };
    let (store, other) = (ground.store().await, ground.store().await);
    let targets = [0, 2, 3, 4].map(|number| targets()[number].clone());
    for gone in [GONE[1], GONE[2], GONE[4]] {
        for target in targets.iter().map(Some).chain([None]) {
            let at = format!("{gone:?} is gone, {target:?}");
            invalidate(&store, Target::All).await;
            put(&store, &key(), "old").await;
            let migration = begin(&ground, &ground.spot("page:7:1"));
            carry(&ground, migration, gone);
            // A heartbeat, and some.
            tokio::time::sleep(Duration::from_millis(700)).await;
            ground.forget(migration, migration.from);
            for instance in [&store, &other] {
                assert_eq!(look(instance, &key()).await, Seen::Held, "{at}");
            }
            if let Some(target) = target {
                invalidate(&other, target.clone()).await;
            }
            ground.carry_back(migration);
            ground.forget(migration, migration.to);
            let expected = if target.is_some() { Seen::Nothing } else { Seen::Value };
            for instance in [&store, &other] {
                assert_eq!(settled(instance, &key()).await, expected, "{at}, given up");
            }
        }
    }
    assert!(is_up(&store) && is_up(&other), "nobody had to connect again");
}

#[tokio::test]
async fn a_quarantine_in_a_slot_on_its_way_is_in_force_there_and_afterwards() {
    let Some(ground) = Clustered::start(0) else { return };
    let (store, other) = (ground.store().await, ground.store().await);
    for target in targets().into_iter().filter(Target::can_be_held) {
        for gone in GONE {
            let at = format!("{gone:?} is gone, {target}");
            invalidate(&store, Target::All).await;
            put(&store, &key(), "old").await;
            let migration = begin(&ground, &ground.spot("page:7:1"));
            carry(&ground, migration, gone);
            let holder = HolderId::new();
            store.hold(std::slice::from_ref(&target), holder, TTL).await.expect("it can be held");
            assert_eq!(look(&other, &key()).await, Seen::Held, "{at}");
            ground.cluster.finish_migration(migration).unwrap();
            assert_eq!(look(&other, &key()).await, Seen::Held, "{at}, afterwards");
            let released = store.release_hold(std::slice::from_ref(&target), holder).await.unwrap();
            assert_eq!(released, Outcome::Applied, "{at}");
            for instance in [&store, &other] {
                assert_eq!(settled(instance, &key()).await, Seen::Nothing, "{at}, released");
            }
        }
    }
}

#[tokio::test]
async fn a_pattern_takes_everything_while_keys_are_on_their_way_and_what_matches_otherwise() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = ground.store().await;
    let others: Vec<Key> = (0..32).map(|number| Key::new("other").arg(&number)).collect();
    for is_moving in [false, true, false] {
        put(&store, &key(), "old").await;
        for other in &others {
            if settled(&store, other).await == Seen::Nothing {
                put(&store, other, "old").await;
            }
        }
        let migration = is_moving.then(|| begin(&ground, &ground.spot("page:7:1")));
        invalidate(&store, Target::Glob("page:*".to_owned())).await;
        assert_ne!(look(&store, &key()).await, Seen::Value);
        for other in &others {
            assert_eq!(look(&store, other).await == Seen::Value, !is_moving, "{other}, is moving: {is_moving}");
        }
        if let Some(migration) = migration {
            ground.abandon(migration);
        }
    }
}

/// The keys are elsewhere while their server is walked, and where they were when the walk ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_over_when_a_walk_ends_is_noticed() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = Arc::new(ground.store().await);
    let keys: Vec<Key> = (0..2_000).map(|number| Key::new("simple").arg(&number)).collect();
    for key in &keys {
        put(&store, key, "old").await;
    }
    let slot = ground.spot("simple:0").slot;
    let paths: Vec<_> = ground.find("simple:*").into_iter().filter(|spot| spot.slot == slot).collect();
    let home = paths[0].node;
    lengthen_walks(&ground, home);
    let (mut within, mut rounds) = (0, 0);
    while within < 4 {
        for key in &keys {
            if settled(&store, key).await == Seen::Nothing {
                put(&store, key, "old").await;
            }
        }
        let walk = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.invalidate(&[Target::Glob("simple:*".to_owned())]).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        let migration = ground.begin(&paths[0], (home + 1) % 3);
        ground.cluster.move_keys(migration, 100).unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        ground.abandon(migration);
        within += u32::from(!walk.is_finished());
        assert_eq!(walk.await.unwrap().unwrap(), Outcome::Applied);
        for key in &keys {
            assert_eq!(settled(&store, key).await, Seen::Nothing, "{key}, round {rounds}");
        }
        rounds += 1;
        assert!(rounds < 30, "only {within} moves were over before their walks were");
    }
}

/// Fills a server with keys of others.
fn lengthen_walks(ground: &Clustered, node: usize) {
    let tags = (0..).map(|number| format!("{{{number}}}"));
    let mut own = tags.filter(|tag| ground.cluster.owner(ground.cluster.slot_of(tag)) == Some(node));
    let tag = own.next().expect("it owns something");
    for part in 0..20 {
        let script = "for i = 1, 20000 do redis.call('SET', KEYS[1] .. i, '') end";
        ground.cli(node, &["EVAL", script, "1", &format!("{tag}{part}:")]);
    }
}

#[tokio::test]
async fn a_primary_that_is_new_is_used_when_slots_come_to_it() {
    let Some(mut ground) = Clustered::start(0) else { return };
    let (store, other) = (ground.store().await, ground.store().await);
    put(&store, &key(), "old").await;
    let spot = ground.spot("page:7:1");
    let added = ground.cluster.add_primary();
    // It is not known yet where the slot goes: the invalidation is said again once it is.
    let migration = ground.begin(&spot, added);
    assert_eq!(store.invalidate(&[key().into_entry()]).await.unwrap(), Outcome::Journaled);
    until(&store, true).await;
    assert_ne!(look(&store, &key()).await, Seen::Value);
    assert_ne!(look(&other, &key()).await, Seen::Value);
    invalidate(&store, key().into_entry()).await;
    ground.cluster.finish_migration(migration).unwrap();
    // This one has not heard of it: it connects again, and finds the new one.
    while !matches!(other.read(&key()).await, Ok(Read::Miss { .. })) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    settled(&other, &key()).await;
    put(&other, &key(), "new").await;
    assert_eq!(ground.spot("page:7:1").node, added);
    assert_eq!(settled(&store, &key()).await, Seen::Value);
    // One that connects now knows it from the beginning, also before it owned anything.
    invalidate(&ground.store().await, key().into_entry()).await;
    assert_eq!(settled(&other, &key()).await, Seen::Nothing);
}
