//! Keys are paths: one entry, a node with everything below it, a tag across functions, a glob.
//!
//! ```sh
//! cargo run --example keys_and_tags
//! ```

use staleproof::{Cache, Event, KeyPart, cached, keys};

/// A key part of your own. Newtypes are transparent: the key shows `7`, not `OwnerId(7)`.
#[derive(Clone, Copy, KeyPart)]
struct OwnerId(i64);

#[derive(Clone, Copy, KeyPart)]
enum Order {
    Newest,
    ByName,
}

#[derive(Clone)]
struct Reports {
    cache: Cache,
}

impl Reports {
    #[cached(ttl = "10m", key_prefix = "page", tags("owner:{owner}"))]
    async fn page(&self, owner: OwnerId, order: Order, page: u32) -> String {
        format!("page {page} of {}", owner.0)
    }

    #[cached(ttl = "1h", key_prefix = "summary", tags("owner:{owner}"))]
    async fn summary(&self, owner: OwnerId, title: &str) -> String {
        format!("{title} of {}", owner.0)
    }
}

/// Fills all entries and reports which were no longer there.
async fn reload(reports: &Reports, what: &str) -> Vec<String> {
    let mut events = reports.cache.events();
    for owner in [7, 70].map(OwnerId) {
        for order in [Order::Newest, Order::ByName] {
            reports.page(owner, order, 1).await;
        }
        reports.summary(owner, "year: all").await;
    }
    let mut missed = Vec::new();
    // Six calls, each a hit or a miss; a miss is followed by events of its load.
    for _ in 0..6 {
        loop {
            match events.next().await.expect("the cache is alive") {
                Event::Hit { .. } => break,
                Event::Miss { key } => {
                    missed.push(key);
                    break;
                }
                _ => {}
            }
        }
    }
    println!("{what}\n  misses: {missed:?}");
    missed
}

#[tokio::main]
async fn main() {
    let reports = Reports { cache: Cache::memory() };
    let cache = &reports.cache;
    let seven = OwnerId(7);

    assert_eq!(reload(&reports, "at the start, everything").await.len(), 6);

    let _ = cache.invalidate(keys![Reports::page(seven, Order::Newest, 1)]).await;
    assert_eq!(reload(&reports, "one entry: page(7, Newest, 1)").await, ["page:7:Newest:1"]);

    let _ = cache.invalidate(keys![Reports::page(seven, ..)]).await;
    assert_eq!(reload(&reports, "a node: page(7, ..) — and not owner 70").await.len(), 2);

    let _ = cache.invalidate(keys![tag("owner:7")]).await;
    assert_eq!(reload(&reports, "a tag: owner:7, across both functions").await.len(), 3);

    let _ = cache.invalidate_matching("*:ByName:*").await;
    assert_eq!(reload(&reports, "a glob: *:ByName:*").await.len(), 2);

    let _ = cache.clear().await;
    assert_eq!(reload(&reports, "everything").await.len(), 6);
}
