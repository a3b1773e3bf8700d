//! A share of the hits is loaded as well and compared: a write without an invalidation is found, one with it is not blamed.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use cache_core::{BuildError, Cache, Event, Key, Policy};

async fn read(cache: &Cache, policy: &Policy, source: &AtomicU32) -> HashSet<u32> {
    let load = async || Ok::<_, Infallible>((0..source.load(Ordering::SeqCst)).collect::<HashSet<_>>());
    cache.get_or_load(&Key::new("k"), policy, load).await.unwrap_or_else(|never| match never {})
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_invalidation_is_found() {
    let cache = Cache::builder().verify(1.0).build().expect("sound");
    let (policy, source) = (Policy::new(Duration::from_secs(60)), AtomicU32::new(5));
    let mut events = cache.events();
    read(&cache, &policy, &source).await;
    for _ in 0..20 {
        assert_eq!(read(&cache, &policy, &source).await.len(), 5);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let total = cache.stats().total;
    assert_eq!((total.verified, total.mismatched), (20, 0), "a set has no order");

    source.store(6, Ordering::SeqCst);
    assert_eq!(read(&cache, &policy, &source).await.len(), 6, "what was loaded is served");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(cache.stats().total.mismatched, 1);
    let found = async {
        while let Some(event) = events.next().await {
            if let Event::Mismatched { key } = event {
                return key;
            }
        }
        String::new()
    };
    assert_eq!(found.await, "k");
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_that_comes_in_time_is_not_blamed() {
    let cache = Cache::builder().verify(1.0).build().expect("sound");
    let (policy, source) = (Policy::new(Duration::from_secs(60)), AtomicU32::new(5));
    read(&cache, &policy, &source).await;
    source.store(6, Ordering::SeqCst);
    read(&cache, &policy, &source).await;
    let _ = cache.invalidate([Key::new("k").into_entry()]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let total = cache.stats().total;
    assert_eq!((total.verified, total.mismatched), (1, 0));
}

#[tokio::test]
async fn it_is_off_by_default_and_a_function_can_differ_from_its_cache() {
    let cache = Cache::memory();
    let (policy, source) = (Policy::new(Duration::from_secs(60)), AtomicU32::new(5));
    for _ in 0..10 {
        read(&cache, &policy, &source).await;
    }
    assert_eq!(cache.stats().total.verified, 0);
    read(&cache, &policy.verify(1.0), &source).await;
    assert_eq!(cache.stats().total.verified, 1);
    assert!(matches!(Cache::builder().verify(2.0).build(), Err(BuildError::Setting(_))));
}
