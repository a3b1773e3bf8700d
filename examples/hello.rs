//! Annotate, hit, invalidate: the whole idea in one file. No server needed.
//!
//! ```sh
//! cargo run --example hello
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use staleproof::{Cache, cached, invalidates};

/// A price list: an atomic number stands for the database.
#[derive(Clone)]
struct Prices {
    database: Arc<AtomicU32>,
    cache: Cache,
}

impl Prices {
    #[cached(ttl = "15m", key_prefix = "price")]
    async fn price(&self, article: u32) -> u32 {
        println!("    …asking the database for article {article}");
        self.database.load(Ordering::SeqCst)
    }

    #[invalidates(Self::price(article))]
    async fn set_price(&self, article: u32, cents: u32) {
        self.database.store(cents, Ordering::SeqCst);
    }
}

#[tokio::main]
async fn main() {
    let prices = Prices { database: Arc::new(AtomicU32::new(199)), cache: Cache::memory() };

    println!("first call:");
    println!("  {} cents", prices.price(7).await);
    println!("second call, from the cache:");
    println!("  {} cents", prices.price(7).await);
    println!("a write, then a call:");
    prices.set_price(7, 249).await;
    let after = prices.price(7).await;
    println!("  {after} cents");

    assert_eq!(after, 249, "nobody is served a value from before an invalidation that has returned");
    println!("\n{}", prices.cache.stats());
}
