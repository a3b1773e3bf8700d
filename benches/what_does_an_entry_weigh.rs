//! How many bytes of memory does an entry take beside its value? As requested from the allocator, of which the map's table is part.
//!
//! ```sh
//! cargo bench -p benches --bench what_does_an_entry_weigh
//! ```
//!
//! The value is 128 bytes in an `Arc<[u64; 16]>`, 144 with its counts; what is shown is what comes on top, over so many entries and in
//! a cache with room for all of them. The key has about 20 bytes.
#![allow(missing_docs, reason = "a program")]

use std::{collections::HashMap, hint::black_box, sync::Arc};

use allocation_counter::measure;
use quick_cache::sync::Cache as QuickCache;
use staleproof::{Cache, cached};

type Value = [u64; 16];

/// The value in its `Arc`.
const VALUE: u64 = 128 + 16;

const LIMIT: usize = 4 << 30;

struct Service {
    cache: Cache,
}

impl Service {
    #[cached(ttl = "15m", key_prefix = "rows")]
    async fn one_argument(&self, id: u64) -> Arc<Value> {
        Arc::new([0; 16])
    }

    /// A node of its own above each entry.
    #[cached(ttl = "15m", key_prefix = "pages")]
    async fn two_arguments(&self, id: u64, kind: &str) -> Arc<Value> {
        Arc::new([0; 16])
    }

    /// A tag that ten entries share.
    #[cached(ttl = "15m", key_prefix = "tagged", tags("group:{}", id / 10))]
    async fn tagged(&self, id: u64) -> Arc<Value> {
        Arc::new([0; 16])
    }
}

/// Runs a future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("memory answers at once"),
    }
}

/// What is kept beside the values of `entries` entries, for each of them.
fn beside<K>(entries: u64, kept: &mut Option<K>, fill: impl FnOnce() -> K) -> u64 {
    let counted = measure(|| *kept = Some(fill()));
    (u64::try_from(counted.bytes_current).expect("something is kept") - entries * VALUE) / entries
}

/// The same of a cached function, and the most that the cache itself takes it for.
fn of(entries: u64, call: impl Fn(&Service, u64)) -> String {
    let service = Service { cache: Cache::builder().memory_limit(LIMIT).build().expect("sound") };
    // What exists once, such as the tables' first size, is not an entry's.
    call(&service, entries);
    let bytes = beside(entries, &mut None, || (0..entries).for_each(|id| call(&service, id)));
    assert_eq!(service.cache.stats().total.fills, entries + 1, "all of them have room");
    bytes.to_string()
}

fn main() {
    println!("bytes beside a value of 128, for each entry\n");
    println!("{:<34} {:>10} {:>10} {:>10}", "entries", "1,000", "30,000", "1,000,000");
    let row = |name: &str, of: &dyn Fn(u64) -> String| {
        println!("{name:<34} {:>10} {:>10} {:>10}", of(1_000), of(30_000), of(1_000_000));
    };
    row("staleproof, one argument", &|entries| {
        of(entries, |service, id| drop(black_box(now(service.one_argument(id)))))
    });
    row("staleproof, two arguments", &|entries| {
        of(entries, |service, id| drop(black_box(now(service.two_arguments(id, "active")))))
    });
    row("staleproof, a tag of ten entries", &|entries| {
        of(entries, |service, id| drop(black_box(now(service.tagged(id)))))
    });
    row("quick_cache, String", &|entries| {
        let fill = || {
            let map = QuickCache::<String, Arc<Value>>::new(2 * usize::try_from(entries).expect("it fits"));
            (0..entries).for_each(|id| map.insert(format!("rows:{id}"), Arc::new([0; 16])));
            map
        };
        beside(entries, &mut None, fill).to_string()
    });
    row("HashMap, String (floor)", &|entries| {
        let fill = || (0..entries).map(|id| (format!("rows:{id}"), Arc::new([0_u64; 16]))).collect::<HashMap<_, _>>();
        beside(entries, &mut None, fill).to_string()
    });
}
