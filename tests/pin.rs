//! Values that are pinned stay in memory whatever else comes, in front of Redis as well as without it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use staleproof::{Cache, cached, keys};
use test_support::{shared_url, unique};

#[derive(Clone)]
struct Service {
    cache: Cache,
    loads: Arc<AtomicU32>,
}

impl Service {
    fn new(cache: Cache) -> Self {
        Self { cache, loads: Arc::default() }
    }

    #[cached(ttl = "15m", key_prefix = "pin_settings", pin)]
    async fn settings(&self, number: u32) -> String {
        self.loads.fetch_add(1, Ordering::SeqCst);
        format!("setting {number}")
    }

    #[cached(ttl = "15m", key_prefix = "pin_pages")]
    async fn page(&self, number: u32) -> String {
        format!("{number}").repeat(1_000)
    }

    async fn flood(&self) {
        for number in 0..2_000 {
            self.page(number).await;
        }
    }

    async fn all(&self) -> Vec<String> {
        let mut all = Vec::new();
        for number in 0..50 {
            all.push(self.settings(number).await);
        }
        all
    }
}

#[tokio::test]
async fn what_is_pinned_is_not_evicted_from_memory() {
    let service = Service::new(Cache::builder().memory_limit(1 << 20).build().unwrap());
    let all = service.all().await;
    service.flood().await;
    assert_eq!(service.all().await, all);
    assert_eq!(service.loads.load(Ordering::SeqCst), 50);

    service.cache.invalidate(keys![Service::settings(7)]).await;
    assert_eq!(service.all().await, all);
    assert_eq!(service.loads.load(Ordering::SeqCst), 51, "an invalidation ends it");
}

#[tokio::test]
async fn copies_of_what_is_pinned_are_not_evicted() {
    let builder = Cache::builder().namespace(unique("pin")).redis(shared_url()).memory_limit(1 << 20);
    let cache = builder.call_timeout(Duration::from_secs(5)).connect().await.unwrap();
    let service = Service::new(cache);
    let all = service.all().await;
    service.flood().await;
    let before = service.cache.stats().total.l1_hits;
    assert_eq!(service.all().await, all);
    assert_eq!(service.cache.stats().total.l1_hits - before, 50);
}
