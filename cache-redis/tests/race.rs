//! Readers, writers and a hostile operator at once: no read that begins after an invalidation has returned gets a value
//! from before it.

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
    store::{Acquired, Purpose, Read, Stored},
};
use cache_redis::RedisStore;
use common::*;
use test_support::RedisServer;

const OWNERS: usize = 2;
const PAGES: usize = 3;

/// What is cached: for each key the newest version, and the version that the newest finished invalidation was for.
#[derive(Default)]
struct Source {
    rows: [Row; OWNERS * PAGES],
    hits: AtomicU64,
    fills: AtomicU64,
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
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read(source: &Source, store: &RedisStore) {
    let row = fastrand::usize(..source.rows.len());
    let (key, floor) = (key(row), source.rows[row].floor.load(SeqCst));
    let check = |stored: &Stored| {
        let version: u64 = text(&stored.payload).parse().expect("a number was stored");
        assert!(version >= floor, "{key}: {version} was served after {floor} had been invalidated");
        source.hits.fetch_add(1, SeqCst);
    };
    let purpose = match store.read(&key).await.expect("Redis answers") {
        Read::Hit(stored) => {
            check(&stored);
            if fastrand::u8(..8) > 0 {
                return;
            }
            Purpose::Refresh(stored.id)
        }
        Read::Miss { .. } => LOAD,
        Read::Held => panic!("nobody holds {key}"),
    };
    match store.acquire(&key, purpose, Duration::from_millis(200)).await.expect("Redis answers") {
        Acquired::Lease(lease) => {
            linger().await;
            let version = source.rows[row].version.load(SeqCst);
            linger().await;
            store.fill(&key, &lease, bytes(&version.to_string()), TTL).await.expect("Redis answers");
            source.fills.fetch_add(1, SeqCst);
        }
        Acquired::Value(stored) => check(&stored),
        Acquired::Wait { .. } | Acquired::Gone => linger().await,
        Acquired::Held => panic!("nobody holds {key}"),
    }
}

async fn write(source: &Source, store: &RedisStore) {
    let row = fastrand::usize(..source.rows.len());
    let owner = row / PAGES;
    let (target, hit): (Target, Vec<usize>) = match fastrand::u8(..8) {
        0..3 => (key(row).into_entry(), vec![row]),
        3 => (Key::new("page").arg(&owner).into_node(), (owner * PAGES..(owner + 1) * PAGES).collect()),
        4 => (Target::Tag(Tag::new("owner:").arg(&owner)), (owner * PAGES..(owner + 1) * PAGES).collect()),
        5 => (Target::Glob(format!("page:*:{}", row % PAGES)), (row % PAGES..OWNERS * PAGES).step_by(PAGES).collect()),
        6 => (Key::new("page").into_node(), (0..OWNERS * PAGES).collect()),
        _ => (Target::All, (0..OWNERS * PAGES).collect()),
    };
    let written: Vec<_> = hit.iter().map(|&row| (row, source.rows[row].version.fetch_add(1, SeqCst) + 1)).collect();
    assert_eq!(store.invalidate(&[target]).await.expect("Redis answers"), Outcome::Applied);
    for (row, version) in written {
        source.rows[row].floor.fetch_max(version, SeqCst);
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
}

/// Removes keys at random, as an eviction or an operator does, and now and then all of them or the scripts.
async fn meddle(ground: &Ground) {
    match fastrand::u8(..40) {
        0 => drop(ground.cli(&["FLUSHALL"])),
        1 => drop(ground.cli(&["SCRIPT", "FLUSH"])),
        _ => drop(ground.cli(&["UNLINK", &ground.cli(&["RANDOMKEY"])])),
    }
    tokio::time::sleep(Duration::from_millis(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stale_is_served() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    let source = Arc::new(Source::default());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10 {
        let (source, store) = (Arc::clone(&source), ground.another().await);
        tasks.spawn(async move {
            while !source.is_over.load(SeqCst) {
                if n < 8 { read(&source, &store).await } else { write(&source, &store).await }
            }
        });
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        meddle(&ground).await;
    }
    source.is_over.store(true, SeqCst);
    while let Some(task) = tasks.join_next().await {
        task.expect("no task has served anything stale");
    }
    let (hits, fills) = (source.hits.load(SeqCst), source.fills.load(SeqCst));
    assert!(hits > 100 && fills > 100, "{hits} hits, {fills} fills show nothing");
}
