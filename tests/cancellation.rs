//! Callers that go away at any await point: no waiter is stuck, and no invalidation is lost once the body finished.

mod source;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use source::{Service, Source};
use staleproof::{Cache, cached, invalidates};
use test_support::{shared_url, unique};

#[derive(Clone)]
struct Numbers {
    cache: Cache,
    value: Arc<AtomicU64>,
}

impl Numbers {
    #[cached(ttl = "1m", key_prefix = "number")]
    async fn number(&self, id: u32) -> u64 {
        tokio::task::yield_now().await;
        self.value.load(Ordering::SeqCst)
    }

    #[invalidates(Self::number(id))]
    async fn raise(&self, id: u32) -> u64 {
        tokio::task::yield_now().await;
        let new = self.value.fetch_add(1, Ordering::SeqCst) + 1;
        // The body finishes in the very poll in which it writes.
        new
    }
}

/// Polls `future` that many times, with a pause after each, and drops it. Whether it was done before.
async fn poll_and_drop(future: impl Future, polls: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

async fn caches() -> Vec<Cache> {
    let redis = Cache::builder()
        .namespace(unique("cancel"))
        .redis(shared_url())
        .call_timeout(Duration::from_secs(5))
        .connect()
        .await
        .expect("Redis is there");
    vec![Cache::memory(), redis]
}

#[tokio::test]
async fn a_load_dropped_at_any_await_point_leaves_nobody_waiting() {
    for cache in caches().await {
        let service = Service::new(cache, &Source::new());
        let mut ended = false;
        for polls in 1.. {
            let owner = u32::try_from(polls).expect("few polls");
            let (first, second) = (service.clone(), service.clone());
            let waiter = tokio::spawn(async move { second.page(owner, "p").await });
            ended = poll_and_drop(first.page(owner, "p"), polls).await;
            let value = tokio::time::timeout(Duration::from_secs(2), waiter).await.expect("the waiter is not stuck");
            assert_eq!(value.expect("the waiter ends"), 1);
            assert_eq!(service.page(owner, "p").await, 1);
            if ended || polls > 50 {
                break;
            }
        }
        assert!(ended, "with enough polls the call ends");
    }
}

#[tokio::test]
async fn a_stopped_leader_that_is_dropped_hands_over_at_once() {
    for cache in caches().await {
        let service = Service::new(cache, &Source::new());
        service.source.close();
        let leader = tokio::spawn({
            let service = service.clone();
            async move { service.page(1, "p").await }
        });
        service.source.reached().await;
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(async move { service.page(1, "p").await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        leader.abort();
        service.source.reached().await;
        service.source.open();
        for waiter in waiters {
            let ended = tokio::time::timeout(Duration::from_secs(2), waiter).await.expect("no waiter is stuck");
            assert_eq!(ended.expect("it ends"), 1);
        }
        assert_eq!(service.source.loads(), 2, "one waiter led on, the others took its value");
    }
}

#[tokio::test]
async fn an_invalidating_method_dropped_at_any_await_point_invalidates_if_its_body_finished() {
    for cache in caches().await {
        let numbers = Numbers { cache, value: Arc::new(AtomicU64::new(0)) };
        let mut ended = false;
        for polls in 1..50 {
            let before = numbers.number(1).await;
            ended = poll_and_drop(numbers.raise(1), polls).await;
            let wrote = numbers.value.load(Ordering::SeqCst) > before;
            // The invalidation goes on by itself; the caller that left is not told when it is over.
            let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
            while numbers.number(1).await != numbers.value.load(Ordering::SeqCst) {
                assert!(tokio::time::Instant::now() < deadline, "after {polls} polls the invalidation was lost");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(wrote || polls == 1, "the body finishes with the second poll");
            if ended {
                break;
            }
        }
        assert!(ended, "with enough polls the call ends");
    }
}

#[tokio::test]
async fn a_panicking_loader_hands_over_and_panics_in_its_own_caller_only() {
    #[derive(Clone)]
    struct Fragile {
        cache: Cache,
        calls: Arc<AtomicU64>,
    }
    impl Fragile {
        #[cached(ttl = "1m", key_prefix = "fragile")]
        async fn value(&self, id: u32) -> u32 {
            let first = self.calls.fetch_add(1, Ordering::SeqCst) == 0;
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert!(!first, "the first load panics");
            id
        }
    }
    for cache in caches().await {
        let fragile = Fragile { cache, calls: Arc::new(AtomicU64::new(0)) };
        let callers: Vec<_> = (0..10)
            .map(|_| {
                let fragile = fragile.clone();
                tokio::spawn(async move { fragile.value(3).await })
            })
            .collect();
        let mut panicked = 0;
        for caller in callers {
            match tokio::time::timeout(Duration::from_secs(2), caller).await.expect("nobody is stuck") {
                Ok(value) => assert_eq!(value, 3),
                Err(error) => {
                    assert!(error.is_panic());
                    panicked += 1;
                }
            }
        }
        assert_eq!(panicked, 1);
    }
}
