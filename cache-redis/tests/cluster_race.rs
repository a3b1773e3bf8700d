//! Readers and writers over a cluster whose slots move and whose primaries change: no read that begins after an
//! invalidation has returned gets a value from before it.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use cache_core::{
    Key, Outcome, Store, Tag, Target,
    store::{Acquired, Filled, HolderId, Purpose, Read, Stored},
};
use cache_redis::RedisStore;
use common::{clustered::*, *};
use test_support::Promotion;

const OWNERS: usize = 3;
const PAGES: usize = 4;

/// How long each test goes on. Longer runs are what the chaos command is for.
const LASTS: Duration = Duration::from_secs(7);

/// What is cached: for each key the newest version, and the version that the newest finished invalidation was for.
#[derive(Default)]
struct Source {
    rows: [Row; OWNERS * PAGES],
    hits: AtomicU64,
    fills: AtomicU64,
    applied: AtomicU64,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Row {
    version: AtomicU64,
    floor: AtomicU64,
}

fn key(row: usize) -> Key {
    page(i32::try_from(row / PAGES).unwrap(), i32::try_from(row % PAGES).unwrap())
}

/// Lets the others go on, for a while that differs.
async fn linger() {
    for _ in 0..fastrand::u8(..4) {
        tokio::task::yield_now().await;
    }
    if fastrand::u8(..8) == 0 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..5))).await;
    }
}

/// A store that is out of reach, or slow for once, serves nothing and stores nothing.
async fn read(source: &Source, store: &RedisStore) {
    let row = fastrand::usize(..source.rows.len());
    let (key, floor) = (key(row), source.rows[row].floor.load(SeqCst));
    let check = |stored: &Stored| {
        let version: u64 = text(&stored.payload).parse().expect("a number was stored");
        assert!(version >= floor, "{key}: {version} was served after {floor} had been invalidated");
        source.hits.fetch_add(1, SeqCst);
    };
    let purpose = match store.read(&key).await {
        Ok(Read::Hit(stored)) => {
            check(&stored);
            if fastrand::u8(..8) > 0 {
                return;
            }
            Purpose::Refresh(stored.id)
        }
        Ok(Read::Miss { .. }) => LOAD,
        Ok(Read::Held) | Err(_) => return linger().await,
    };
    match store.acquire(&key, purpose, Duration::from_millis(200)).await {
        Ok(Acquired::Lease(lease)) => {
            linger().await;
            let version = source.rows[row].version.load(SeqCst);
            linger().await;
            if let Ok(Filled::Stored) = store.fill(&key, &lease, bytes(&version.to_string()), TTL).await {
                source.fills.fetch_add(1, SeqCst);
            }
        }
        // Found after the floor was noted: it need not be of a read that began then.
        Ok(Acquired::Value(stored)) => check(&stored),
        _ => linger().await,
    }
}

async fn write(source: &Source, store: &RedisStore) {
    let row = fastrand::usize(..source.rows.len());
    let owner = row / PAGES;
    let of_owner = || (owner * PAGES..(owner + 1) * PAGES).collect();
    let (target, hit): (Target, Vec<usize>) = match fastrand::u8(..9) {
        0..3 => (key(row).into_entry(), vec![row]),
        3 => (Key::new("page").arg(&owner).into_node(), of_owner()),
        4 | 5 => (Target::Tag(Tag::new("owner:").arg(&owner)), of_owner()),
        6 => (Target::Glob(format!("page:*:{}", row % PAGES)), (row % PAGES..OWNERS * PAGES).step_by(PAGES).collect()),
        7 => (Key::new("page").into_node(), (0..OWNERS * PAGES).collect()),
        _ => (Target::All, (0..OWNERS * PAGES).collect()),
    };
    let targets = [target];
    let holder = HolderId::new();
    let is_held = fastrand::bool() && targets[0].can_be_held() && {
        store.hold(&targets, holder, Duration::from_secs(2)).await.is_ok()
    };
    let written: Vec<_> = hit.iter().map(|&row| (row, source.rows[row].version.fetch_add(1, SeqCst) + 1)).collect();
    linger().await;
    let outcome = if is_held { store.release_hold(&targets, holder).await } else { store.invalidate(&targets).await };
    // Journaled, it is in force when it has been replayed, which nobody tells.
    if outcome.expect("it fails only where it can do neither") == Outcome::Applied {
        source.applied.fetch_add(1, SeqCst);
        for (row, version) in written {
            source.rows[row].floor.fetch_max(version, SeqCst);
        }
    }
    tokio::time::sleep(Duration::from_millis(3)).await;
}

/// Moves the slot of a key, in steps of its keys; now and then gives it up on the way.
fn move_a_slot(ground: &Clustered) {
    let spots: Vec<Spot> = ground.find("*").into_iter().filter(|spot| spot.node < 3).collect();
    let Some(spot) = (!spots.is_empty()).then(|| &spots[fastrand::usize(..spots.len())]) else { return };
    let to = (spot.node + fastrand::usize(1..3)) % 3;
    let migration = ground.begin(spot, to);
    for _ in 0..fastrand::usize(..6) {
        std::thread::sleep(Duration::from_millis(fastrand::u64(..30)));
        if ground.cluster.move_keys(migration, 1).is_err() {
            break;
        }
    }
    std::thread::sleep(Duration::from_millis(fastrand::u64(..100)));
    if fastrand::u8(..3) == 0 {
        // Known to all by then.
        std::thread::sleep(Duration::from_millis(700));
        ground.abandon(migration);
    } else {
        // Of a key that has been made on both sides the old owner's counts.
        ground.finish(migration);
    }
}

async fn run(ground: &Clustered, lasts: Duration, mut meddle: impl FnMut(&Clustered)) -> Arc<Source> {
    let source = Arc::new(Source::default());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10 {
        let (source, store) = (Arc::clone(&source), ground.store().await);
        tasks.spawn(async move {
            while !source.is_over.load(SeqCst) {
                if n < 8 { read(&source, &store).await } else { write(&source, &store).await }
            }
        });
    }
    let began = Instant::now();
    while began.elapsed() < lasts {
        tokio::task::block_in_place(|| meddle(ground));
    }
    source.is_over.store(true, SeqCst);
    while let Some(task) = tasks.join_next().await {
        task.expect("no task has served anything stale");
    }
    let counts = [&source.hits, &source.fills, &source.applied].map(|count| count.load(SeqCst));
    assert!(counts.iter().all(|&count| count > 100), "hits, fills and invalidations {counts:?} show nothing");
    source
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stale_is_served_while_slots_move() {
    let Some(ground) = Clustered::start(0) else { return };
    run(&ground, LASTS, move_a_slot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stale_is_served_while_primaries_change() {
    let Some(ground) = Clustered::start(1) else { return };
    run(&ground, LASTS, |ground| {
        let shard = fastrand::usize(..3);
        let (old, new) =
            if ground.cluster.primaries().contains(&shard) { (shard, shard + 3) } else { (shard + 3, shard) };
        let how = [Promotion::Agreed, Promotion::Takeover][fastrand::usize(..2)];
        assert_eq!(ground.cluster.replicas_of(old), [new]);
        ground.cluster.promote(new, how);
        ground.cluster.settle();
        std::thread::sleep(Duration::from_millis(fastrand::u64(..500)));
    })
    .await;
}
