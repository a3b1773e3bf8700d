//! What Redis may lose at any time: misses, never something stale, and invalidations still hold.

mod common;

use std::time::{Duration, Instant};

use cache_core::{
    Key, Store, Tag, Target,
    store::{Acquired, Filled, Link, Read, StoreError},
};
use common::*;
use test_support::RedisServer;

#[tokio::test]
async fn whatever_is_removed_costs_a_miss_and_the_next_load_is_stored() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    let (store, key) = (&ground.store, page(7, 1));
    let names = ["page:7:1", "page#g", "page:7#g", "#tag:owner:7#g", "#root"].map(|name| ground.name(name));
    let mut removals: Vec<Vec<&str>> = names.iter().map(|name| vec!["UNLINK", name]).collect();
    removals.extend([vec!["FLUSHALL"], vec!["FLUSHDB", "SYNC"], vec!["SCRIPT", "FLUSH"]]);
    for removal in &removals {
        fill(store, &key, "old").await;
        let running = lease(store, &page(7, 2)).await;
        server.cli(removal);
        let is_data = removal[0] != "SCRIPT";
        assert_eq!(hit(store, &key).await.is_none(), is_data, "{removal:?}");
        let filled = store.fill(&page(7, 2), &running, bytes("late"), TTL).await.unwrap();
        let stays = !is_data || removal.last().is_some_and(|name| name.ends_with("page:7:1"));
        assert_eq!(filled == Filled::Stored, stays, "{removal:?}: a load in flight");
        invalidate(store, Key::new("page").into_node()).await;
        fill(store, &key, "new").await;
        assert_eq!(hit(store, &key).await.as_deref(), Some("new"), "{removal:?}");
        assert!(matches!(*store.link().unwrap().borrow(), Link::Up), "{removal:?}");
        invalidate(store, Target::All).await;
    }
}

/// Loads, or tells that nothing could be stored for lack of memory.
async fn try_fill(store: &cache_redis::RedisStore, key: &Key, value: &str) -> bool {
    match store.acquire(key, LOAD, LEASE).await {
        Ok(Acquired::Lease(lease)) => match store.fill(key, &lease, bytes(value), TTL).await {
            Ok(filled) => filled == Filled::Stored,
            Err(StoreError::Failed(_)) => false,
            Err(error) => panic!("a full server is within reach: {error:?}"),
        },
        Ok(Acquired::Value(_)) => true,
        Ok(other) => panic!("{other:?}"),
        Err(StoreError::Failed(_)) => false,
        Err(error) => panic!("a full server is within reach: {error:?}"),
    }
}

#[tokio::test]
async fn a_server_that_evicts_without_end_serves_nothing_stale() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    // What the server itself takes differs between versions: at the least, nothing fits at all.
    for limit in ["1mb", "1500kb", "3mb"] {
        server.cli(&["CONFIG", "SET", "maxmemory", limit]);
        let (mut hits, mut fills) = (0, 0);
        let began = Instant::now();
        let mut version = 0_u32;
        while began.elapsed() < Duration::from_millis(700) {
            version += 1;
            let current = version.to_string();
            for n in 0..40 {
                let payload = format!("{current}:{}", "x".repeat(2_000));
                fills += u32::from(try_fill(&ground.store, &page(n % 4, n), &payload).await);
            }
            for n in 0..40 {
                match ground.store.read(&page(n % 4, n)).await.unwrap() {
                    Read::Hit(stored) => {
                        hits += 1;
                        let text = text(&stored.payload);
                        let found = text.split(':').next().unwrap();
                        assert_eq!(found, current, "a version that was invalidated, at {limit}");
                    }
                    Read::Miss { .. } => {}
                    Read::Held => panic!("nobody holds"),
                }
            }
            for owner in 0..4 {
                let target = match version % 3 {
                    0 => Key::new("page").arg(&owner).into_node(),
                    1 => Target::Tag(Tag::new("owner:").arg(&owner)),
                    _ => Target::Glob(format!("page:{owner}:*")),
                };
                invalidate(&ground.store, target).await;
            }
        }
        assert!(matches!(*ground.store.link().unwrap().borrow(), Link::Up), "{limit}");
        if limit == "3mb" {
            assert!(hits > 100 && fills > 100, "{hits} hits, {fills} fills show nothing");
        }
    }
}
