//! A hit in memory costs what a look-up costs: it allocates nothing, whatever makes the key.

use std::sync::Arc;

use allocation_counter::measure;
use staleproof::{Cache, KeyPart, cached};

#[derive(KeyPart)]
struct Filter {
    kind: &'static str,
    page: Option<u32>,
}

struct Service<T> {
    cache: Cache,
    of: std::marker::PhantomData<T>,
}

impl<T: Send + Sync> Service<T> {
    #[cached(ttl = "15m")]
    async fn plain(&self, owner: u64, kind: &str) -> Arc<Vec<u8>> {
        Arc::new(format!("{owner} {kind}").into_bytes())
    }

    #[cached(ttl = "15m", tags("owner:{owner}"))]
    async fn tagged(&self, owner: i64) -> Result<Arc<Vec<u8>>, ()> {
        Ok(Arc::new(vec![u8::try_from(owner & 7).unwrap_or(0)]))
    }

    #[cached(ttl = "15m", negative_ttl = "1m", stale_if_error = "1m")]
    async fn absent(&self, filter: Filter) -> Option<Arc<Vec<u8>>> {
        assert!(filter.kind.len() < 9 || filter.page.is_some());
        None
    }
}

struct Words {
    cache: Cache,
}

impl Words {
    #[cached(ttl = "15m", key_prefix = "hits_words")]
    async fn of(&self, text: &str) -> Arc<String> {
        Arc::new(text.to_uppercase())
    }
}

/// Polls once what has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("memory answers at once"),
    }
}

/// How many allocations the second of two equal calls makes.
fn of_a_hit<T>(cache: &Cache, call: impl Fn() -> T) -> u64 {
    drop(call());
    // Whatever a thread does once is done by then.
    drop(call());
    let before = cache.stats().total;
    let mut kept = None;
    let counted = measure(|| kept = Some(call()));
    let after = cache.stats().total;
    assert_eq!((after.hits, after.loads), (before.hits + 1, before.loads), "a hit");
    drop(kept);
    counted.count_total
}

#[test]
fn a_hit_allocates_nothing() {
    let service = Service::<Vec<u8>> { cache: Cache::memory(), of: std::marker::PhantomData };
    let cache = &service.cache;
    assert_eq!(of_a_hit(cache, || now(service.plain(7, "active"))), 0);
    assert_eq!(of_a_hit(cache, || now(service.plain(u64::MAX, "a:b"))), 0);
    assert_eq!(of_a_hit(cache, || now(service.tagged(-7))), 0);
    assert_eq!(of_a_hit(cache, || now(service.absent(Filter { kind: "x", page: Some(3) }))), 0);
    let words = Words { cache: cache.clone() };
    assert_eq!(of_a_hit(cache, || now(words.of("a name of forty characters, some escaped"))), 0);
}

#[test]
fn a_key_of_any_length_hits() {
    let words = Words { cache: Cache::memory() };
    for len in [0, 1, 7, 8, 9, 15, 16, 40, 84, 85, 86, 127, 128, 129, 5_000] {
        let text = "w".repeat(len);
        assert_eq!(*now(words.of(&text)), text.to_uppercase());
        let allocations = of_a_hit(&words.cache, || now(words.of(&text)));
        assert!(len > 40 || allocations == 0, "{len} bytes: {allocations}");
    }
}
