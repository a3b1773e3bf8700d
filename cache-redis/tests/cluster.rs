//! A cluster: where keys are, and that what concerns several primaries holds on all of them.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cache_core::{
    Key, Outcome, Store, Tag, Target,
    store::{Acquired, Filled, HolderId, Purpose, Read},
};
use cache_redis::RedisStore;
use common::{clustered::Clustered, *};

/// How many pages there are, by owners and numbers: enough to be on all primaries.
const OWNERS: i32 = 4;
const PAGES: i32 = 8;

fn pages() -> impl Iterator<Item = (i32, i32)> {
    (0..OWNERS).flat_map(|owner| (0..PAGES).map(move |number| (owner, number)))
}

/// One argument and no tag: all in one place.
fn simple(number: i32) -> Key {
    Key::new("simple").arg(&number)
}

#[tokio::test]
async fn keys_are_spread_over_the_primaries_and_each_is_in_the_slot_of_its_partition() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = ground.store().await;
    for number in 0..1_500 {
        fill(&store, &simple(number), "value").await;
    }
    let keys = ground.find("simple:*");
    assert_eq!(keys.len(), 1_500);
    let mut entries = [0; 3];
    let mut slots = BTreeMap::new();
    for spot in &keys {
        entries[spot.node] += 1;
        slots.entry(spot.slot).or_insert_with(Vec::new).push(spot);
    }
    assert!(entries.iter().all(|entries| (400..600).contains(entries)), "{entries:?}");
    assert!(slots.len() > 250, "{} partitions", slots.len());
    // Beside the entries: the root and the function's token, and nothing else.
    for (slot, spots) in slots {
        let here = ground.cli(spots[0].node, &["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]);
        assert_eq!(here, format!(":{}", spots.len() + 2), "slot {slot}");
    }
}

#[tokio::test]
async fn what_is_in_one_partition_is_read_from_one_primary_by_one_command() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = ground.store().await;
    fill(&store, &simple(1), "value").await;
    let calls = |command: &str| -> Vec<u64> {
        let stat = |node| {
            let stats = ground.cli(node, &["INFO", "commandstats"]);
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
            line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
        };
        (0..3).map(stat).collect()
    };
    let before = calls("mget");
    for _ in 0..100 {
        assert!(hit(&store, &simple(1)).await.is_some());
    }
    let spent: Vec<_> = calls("mget").iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(spent.iter().sum::<u64>(), 100, "{spent:?}");
    assert!(spent.contains(&100), "{spent:?}");
}

/// Targets, and whether they cover the page of that owner and number.
fn targets() -> Vec<(Target, fn(i32, i32) -> bool)> {
    vec![
        (page(1, 1).into_entry(), |owner, number| (owner, number) == (1, 1)),
        (Key::new("page").arg(&1).into_node(), |owner, _| owner == 1),
        (Target::Tag(Tag::new("owner:").arg(&1)), |owner, _| owner == 1),
        (Target::Glob("page:*:1".to_owned()), |_, number| number == 1),
        (Target::Glob("page:[12]:*".to_owned()), |owner, _| owner == 1 || owner == 2),
        (Key::new("page").into_node(), |_, _| true),
        (Target::All, |_, _| true),
    ]
}

/// Stores whatever is not there.
async fn fill_missing(store: &RedisStore, keys: impl Iterator<Item = Key>) {
    for key in keys {
        if hit(store, &key).await.is_none() {
            fill(store, &key, "value").await;
        }
    }
}

#[tokio::test]
async fn every_kind_of_target_reaches_what_it_covers_on_all_primaries_and_nothing_else() {
    let Some(ground) = Clustered::start(0) else { return };
    let (store, other) = (ground.store().await, ground.store().await);
    for (target, covers) in targets() {
        fill_missing(&store, pages().map(|(owner, number)| page(owner, number)).chain((0..8).map(simple))).await;
        let nodes: BTreeSet<_> = ground.find("page:*:?").iter().map(|spot| spot.node).collect();
        assert_eq!(nodes.len(), 3, "entries are on all primaries");
        // Loads that began before.
        let late = (lease(&other, &page(1, 100)).await, lease(&other, &page(9, 100)).await);
        invalidate(&store, target.clone()).await;
        for instance in [&store, &other] {
            for (owner, number) in pages() {
                let is_there = hit(instance, &page(owner, number)).await.is_some();
                assert_eq!(is_there, !covers(owner, number), "{target}, page {owner}:{number}");
            }
            for number in 0..8 {
                assert_eq!(hit(instance, &simple(number)).await.is_some(), target != Target::All, "{target}");
            }
        }
        let mut filled = Vec::new();
        for (owner, lease) in [(1, &late.0), (9, &late.1)] {
            filled.push(other.fill(&page(owner, 100), lease, bytes("late"), TTL).await.unwrap());
        }
        let expected = |is_covered| if is_covered { Filled::Refused } else { Filled::Stored };
        assert_eq!(filled, [expected(covers(1, 100)), expected(covers(9, 100))], "{target}");
        invalidate(&store, Target::All).await;
    }
}

#[tokio::test]
async fn a_quarantine_of_a_node_or_a_tag_is_in_force_on_all_primaries() {
    let Some(ground) = Clustered::start(0) else { return };
    let (store, other) = (ground.store().await, ground.store().await);
    for (target, covers) in targets().into_iter().filter(|(target, _)| target.can_be_held()) {
        fill_missing(&store, pages().map(|(owner, number)| page(owner, number))).await;
        let late = lease(&other, &page(1, 100)).await;
        let holder = HolderId::new();
        store.hold(std::slice::from_ref(&target), holder, TTL).await.unwrap();
        for (owner, number) in pages() {
            let read = other.read(&page(owner, number)).await.unwrap();
            assert_eq!(matches!(read, Read::Held), covers(owner, number), "{target}, page {owner}:{number}: {read:?}");
            if covers(owner, number) {
                let acquired = other.acquire(&page(owner, number), LOAD, LEASE).await.unwrap();
                assert!(matches!(acquired, Acquired::Held), "{target}: {acquired:?}");
            }
        }
        let filled = other.fill(&page(1, 100), &late, bytes("late"), TTL).await.unwrap();
        assert_eq!(filled == Filled::Refused, covers(1, 100), "{target}");
        // Nobody else's invalidation ends it, and its own release does.
        invalidate(&other, target.clone()).await;
        assert!(matches!(other.read(&page(1, 1)).await.unwrap(), Read::Held), "{target}");
        assert_eq!(store.release_hold(std::slice::from_ref(&target), holder).await.unwrap(), Outcome::Applied);
        for (owner, number) in pages() {
            let is_there = hit(&other, &page(owner, number)).await.is_some();
            assert_eq!(is_there, !covers(owner, number), "{target}, page {owner}:{number}");
        }
        invalidate(&store, Target::All).await;
    }
}

#[tokio::test]
async fn a_load_is_refused_whichever_partition_its_invalidation_was_in() {
    let Some(ground) = Clustered::start(0) else { return };
    let (loader, writer) = (ground.store().await, ground.store().await);
    let key = page(7, 1);
    for target in [
        key.clone().into_entry(),
        Key::new("page").arg(&7).into_node(),
        Target::Tag(Tag::new("owner:").arg(&7)),
        Key::new("page").into_node(),
        Target::All,
    ] {
        let late = lease(&loader, &key).await;
        invalidate(&writer, target.clone()).await;
        let filled = loader.fill(&key, &late, bytes("late"), TTL).await.unwrap();
        assert_eq!(filled, Filled::Refused, "{target}");
        assert_eq!(hit(&writer, &key).await, None, "{target}");
        // The early refresh likewise.
        fill(&loader, &key, "value").await;
        let Read::Hit(value) = loader.read(&key).await.unwrap() else { panic!("{target}: not stored") };
        let late = match loader.acquire(&key, Purpose::Refresh(value.id), LEASE).await.unwrap() {
            Acquired::Lease(lease) => lease,
            other => panic!("{target}: {other:?}"),
        };
        let again = writer.acquire(&key, Purpose::Refresh(value.id), LEASE).await.unwrap();
        assert!(matches!(again, Acquired::Wait { .. }), "{target}: {again:?}");
        invalidate(&writer, target.clone()).await;
        let filled = loader.fill(&key, &late, bytes("late"), TTL).await.unwrap();
        assert_eq!(filled, Filled::Refused, "{target}");
        assert_eq!(hit(&writer, &key).await, None, "{target}");
        let gone = loader.acquire(&key, Purpose::Refresh(value.id), LEASE).await.unwrap();
        assert!(matches!(gone, Acquired::Gone), "{target}: {gone:?}");
    }
}

/// The fill looks at the tokens elsewhere before it stores. One that is killed in between leaves a value that is dead.
#[tokio::test]
async fn a_value_whose_token_elsewhere_is_gone_is_no_hit_and_is_replaced() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = ground.store().await;
    let key = page(7, 1);
    for path in ["page:7#g", "#tag:owner:7#g"] {
        invalidate(&store, key.clone().into_entry()).await;
        fill(&store, &key, "old").await;
        // Of the partition whose token this is. An operator's deletion is an invalidation like any other.
        let token = ground.spot(path);
        assert_ne!(token.slot, ground.spot("page:7:1").slot);
        for name in [token.name.clone(), ground.root_of(&token)] {
            assert_eq!(ground.cli(token.node, &["UNLINK", &name]), ":1", "{name}");
            assert_eq!(ground.find("page:7:1").len(), 1, "the value is there");
            assert_eq!(hit(&store, &key).await, None, "{name}");
            fill(&store, &key, "new").await;
            assert_eq!(hit(&store, &key).await.as_deref(), Some("new"));
        }
    }
}

/// Two entries under the same tokens elsewhere: what brings these back for the one does not bring back the other.
#[tokio::test]
async fn an_entry_stays_dead_when_its_tokens_come_into_being_again() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = ground.store().await;
    for target in [Key::new("page").arg(&7).into_node(), Target::Tag(Tag::new("owner:").arg(&7)), Target::All] {
        fill_missing(&store, (1..=2).map(|number| page(7, number))).await;
        let late = lease(&store, &page(7, 3)).await;
        invalidate(&store, target.clone()).await;
        fill(&store, &page(7, 1), "new").await;
        assert_eq!(hit(&store, &page(7, 1)).await.as_deref(), Some("new"), "{target}");
        assert_eq!(hit(&store, &page(7, 2)).await, None, "{target}");
        let filled = store.fill(&page(7, 3), &late, bytes("late"), TTL).await.unwrap();
        assert_eq!((filled, hit(&store, &page(7, 3)).await), (Filled::Refused, None), "{target}");
    }
}

#[tokio::test]
async fn tokens_elsewhere_live_as_long_as_what_is_stored_under_them() {
    let Some(ground) = Clustered::start(0) else { return };
    let store = ground.store().await;
    let key = page(7, 1);
    let lease = lease(&store, &key).await;
    let left = |path| {
        let spot = ground.spot(path);
        let left: u64 = ground.cli(spot.node, &["PTTL", &spot.name])[1..].parse().expect("milliseconds");
        Duration::from_millis(left)
    };
    let tokens = ["page:7#g", "#tag:owner:7#g"];
    assert!(tokens.iter().all(|path| left(path) <= Duration::from_secs(600)), "for a load, not for a value");
    let ttl = Duration::from_secs(3_600);
    assert_eq!(store.fill(&key, &lease, bytes("value"), ttl).await.unwrap(), Filled::Stored);
    assert!(tokens.iter().all(|path| left(path) > ttl));
    // A quarantine is no token: it ends when it was to end.
    let (holder, target) = (HolderId::new(), Target::Tag(Tag::new("owner:").arg(&7)));
    store.hold(std::slice::from_ref(&target), holder, Duration::from_secs(60)).await.unwrap();
    let filled = store.fill(&key, &lease, bytes("late"), ttl).await.unwrap();
    assert_eq!(filled, Filled::Refused);
    assert!(left(tokens[1]) <= Duration::from_secs(60));
}
