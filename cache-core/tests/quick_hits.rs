//! The hit that memory answers at once differs from the long way in nothing but its cost.

use std::{convert::Infallible, sync::Arc, time::Duration};

use cache_core::{Cache, Event, Key, ManualClock, Policy, transaction};

const MINUTE: Duration = Duration::from_secs(60);

async fn get(cache: &Cache, policy: &Policy) -> Arc<u32> {
    let load = async || Ok::<_, Infallible>(Arc::new(7));
    cache.get_or_load_shared(&Key::new("k"), policy, load).await.unwrap_or_else(|never| match never {})
}

#[tokio::test]
async fn the_shared_value_itself_is_handed_out_and_counted_once() {
    let (cache, policy) = (Cache::memory(), Policy::new(MINUTE));
    let first = get(&cache, &policy).await;
    for _ in 0..5 {
        assert!(Arc::ptr_eq(&get(&cache, &policy).await, &first));
    }
    let total = cache.stats().total;
    assert_eq!((total.hits, total.misses, total.loads), (5, 1, 1));
    assert_eq!(cache.stats().functions["k"].hits, 5);
}

/// Chance is asked once for a call, whether it goes the short way or the long one after it.
#[tokio::test]
async fn as_many_hits_are_verified_as_were_asked_for() {
    fastrand::seed(1);
    let (cache, policy) = (Cache::memory(), Policy::new(MINUTE).verify(0.25));
    for _ in 0..4_001 {
        get(&cache, &policy).await;
    }
    let total = cache.stats().total;
    assert_eq!(total.hits, 4_000);
    assert!((850..1_150).contains(&total.verified), "{} of 4,000", total.verified);
}

#[tokio::test]
async fn a_value_near_its_end_is_refreshed_as_often_as_the_policy_says() {
    fastrand::seed(2);
    let (mut early, rounds) = (0, 1_000);
    for _ in 0..rounds {
        let clock = ManualClock::new();
        let cache = Cache::builder().clock(&clock).build().expect("sound");
        let policy = Policy::new(MINUTE).jitter(0.0).refresh_ahead(1.0);
        let load = async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(Arc::new(7))
        };
        tokio::time::pause();
        let _ = cache.get_or_load_shared(&Key::new("k"), &policy, load).await;
        // As long before its end as it took to load: one call in e refreshes.
        clock.advance(Duration::from_secs(59));
        let _ = cache.get_or_load_shared(&Key::new("k"), &policy, load).await;
        early += cache.stats().total.refreshed;
        tokio::time::resume();
    }
    let expected = 1_000.0 * (-1.0_f64).exp();
    #[allow(clippy::cast_precision_loss, reason = "a small count")]
    let off = (early as f64 - expected).abs();
    assert!(off < 75.0, "{early} of {rounds}, expected {expected:.0}");
}

#[tokio::test]
async fn a_value_ends_in_time() {
    let clock = ManualClock::new();
    let cache = Cache::builder().clock(&clock).build().expect("sound");
    let policy = Policy::new(MINUTE).jitter(0.0);
    get(&cache, &policy).await;
    clock.advance(MINUTE.saturating_sub(Duration::from_nanos(1)));
    get(&cache, &policy).await;
    assert_eq!(cache.stats().total.loads, 1);
    clock.advance(Duration::from_nanos(1));
    get(&cache, &policy).await;
    assert_eq!(cache.stats().total.loads, 2);
}

#[tokio::test]
async fn a_listener_hears_of_every_hit() {
    let (cache, policy) = (Cache::memory(), Policy::new(MINUTE));
    get(&cache, &policy).await;
    let mut events = cache.events();
    for _ in 0..3 {
        get(&cache, &policy).await;
        assert_eq!(events.next().await, Some(Event::Hit { key: "k".to_owned() }));
    }
    drop(events);
    get(&cache, &policy).await;
    let total = cache.stats().total;
    assert_eq!((total.hits, total.misses), (4, 1));
}

#[tokio::test]
async fn a_transaction_sees_its_source() {
    let (cache, policy) = (Cache::memory(), Policy::new(MINUTE));
    get(&cache, &policy).await;
    let inside = transaction(async { Ok::<_, ()>(get(&cache, &policy).await) }).await;
    assert!(inside.is_ok());
    let total = cache.stats().total;
    assert_eq!((total.hits, total.bypassed), (0, 1));
}

#[tokio::test]
async fn a_value_of_another_type_is_loaded_anew_and_the_call_counts_once() {
    let (cache, policy, key) = (Cache::memory(), Policy::new(MINUTE), Key::new("k"));
    get(&cache, &policy).await;
    let text: Result<String, Infallible> = cache.get_or_load(&key, &policy, async || Ok("seven".to_owned())).await;
    assert_eq!(text.as_deref(), Ok("seven"));
    let total = cache.stats().total;
    assert_eq!((total.hits, total.misses, total.unreadable), (0, 2, 1));
}
