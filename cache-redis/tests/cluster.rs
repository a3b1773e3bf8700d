//! A cluster: where keys are, and that what concerns several primaries holds on all of them.

mod common;

use std::{collections::BTreeMap, time::Duration};

use cache_core::{
    Key, Outcome, Store, Tag, Target,
    store::{Acquired, Filled, HolderId, Purpose, Read},
};
use cache_redis::RedisConfig;
use common::{clustered::Clustered, *};

/// How many pages there are, by owners and numbers: enough to be on all primaries.
const OWNERS: i32 = 4;
const PAGES: i32 = 8;

fn pages() -> impl Iterator<Item = Key> {
    (0..OWNERS).flat_map(|owner| (0..PAGES).map(move |number| page(owner, number)))
}

/// One argument and no tag: all in one place.
fn simple(number: i32) -> Key {
    Key::new("simple").arg(&number)
}

async fn hits(store: &cache_redis::RedisStore, keys: impl Iterator<Item = Key>) -> usize {
    let mut hits = 0;
    for key in keys {
        hits += usize::from(hit(store, &key).await.is_some());
    }
    hits
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

#[tokio::test]
async fn every_kind_of_target_reaches_what_it_covers_on_all_primaries_and_nothing_else() {
    let Some(ground) = Clustered::start(0) else { return };
    let (store, other) = (ground.store().await, ground.store().await);
    let all = usize::try_from(OWNERS * PAGES).unwrap();
    let targets = [
        (page(1, 1).into_entry(), 1),
        (Key::new("page").arg(&1).into_node(), 8),
        (Target::Tag(Tag::new("owner:").arg(&2)), 8),
        (Target::Glob("page:*:3".to_owned()), 4),
        (Target::Glob("page:[12]:*".to_owned()), 16),
        (Key::new("page").into_node(), all),
        (Target::All, all),
    ];
    for (target, expected) in targets {
        for key in pages().chain((0..8).map(simple)) {
            match store.acquire(&key, LOAD, LEASE).await.unwrap() {
                Acquired::Lease(lease) => {
                    assert_eq!(store.fill(&key, &lease, bytes("value"), TTL).await.unwrap(), Filled::Stored);
                }
                Acquired::Value(_) => {}
                unexpected => panic!("{key}: {unexpected:?}"),
            }
        }
        let nodes: std::collections::BTreeSet<_> = ground.find("page:*:*").iter().map(|spot| spot.node).collect();
        assert_eq!(nodes.len(), 3, "entries are on all primaries");
        // A load that began before is refused, wherever its tokens are.
        let covered = pages().find(|key| key.as_str() == "page:1:1").expect("it is one of them");
        let late = page(1, 3);
        invalidate(&store, late.clone().into_entry()).await;
        let late_lease = lease(&other, &late).await;
        invalidate(&store, target.clone()).await;
        for instance in [&store, &other] {
            assert_eq!(
                hits(instance, pages().filter(|key| *key != late)).await,
                match expected {
                    1 => all - 2,
                    // Those that the target covers, and that one.
                    _ => all - expected - usize::from(!covers(&target, &late)),
                },
                "{target}"
            );
            let simple_hits = if target == Target::All { 0 } else { 8 };
            assert_eq!(hits(instance, (0..8).map(simple)).await, simple_hits, "{target}");
        }
        let filled = other.fill(&late, &late_lease, bytes("late"), TTL).await.unwrap();
        let is_covered = covers(&target, &late);
        assert_eq!(filled, if is_covered { Filled::Refused } else { Filled::Stored }, "{target}");
        drop(covered);
        invalidate(&store, Target::All).await;
    }
}

fn covers(target: &Target, key: &Key) -> bool {
    match target {
        Target::Entry(path) => path == key.as_str(),
        Target::Node(path) => key.nodes().any(|node| node == path),
        Target::Tag(tag) => key.tags().contains(tag),
        Target::Glob(glob) => glob.ends_with(":3") && key.as_str().ends_with(":3") || glob == "page:[12]:*",
        _ => true,
    }
}
