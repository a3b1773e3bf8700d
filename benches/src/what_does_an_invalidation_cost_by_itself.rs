//! What does invalidating a node cost beside a `PING`, with nothing else under way: by the store, through the cache, and right after
//! 100 entries below it were loaded?
//!
//! ```sh
//! cargo run --release -p benches --bin what_does_an_invalidation_cost_by_itself
//! ```
//!
//! All take turns, in one task; the medians are shown.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use cache_core::{Key, Store as _};
use cache_redis::{RedisConfig, RedisStore};
use staleproof::{Cache, Policy};
use test_support::{RedisServer, unique};

const ROUNDS: usize = 1_000;
const ENTRIES: u32 = 100;

fn node() -> Key {
    Key::new("page").arg(&7)
}

async fn timed(call: impl Future) -> Duration {
    let began = Instant::now();
    call.await;
    began.elapsed()
}

#[tokio::main]
async fn main() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut raw = client.get_multiplexed_async_connection().await.expect("Redis is there");
    let config = RedisConfig::new(server.url()).namespace(unique("bench")).require();
    let store = RedisStore::connect(config).await.expect("Redis is there");
    let cache = Cache::builder().namespace(unique("bench")).redis(server.url()).connect().await.expect("a cache");
    let policy = Policy::new(Duration::from_secs(900));
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(timed(redis::cmd("PING").query_async::<()>(&mut raw)).await);
        times[1].push(timed(store.invalidate(&[node().into_node()])).await);
        times[2].push(timed(cache.invalidate([node().into_node()])).await);
        for entry in 0..ENTRIES {
            let loaded = cache.get_or_load(&node().arg(&entry), &policy, async || Ok::<_, Infallible>(entry)).await;
            assert_eq!(loaded, Ok(entry));
        }
        times[3].push(timed(cache.invalidate([node().into_node()])).await);
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    let medians = times.map(median);
    for (what, time) in ["PING", "the store", "the cache", "the cache, after 100 loads"].iter().zip(medians) {
        println!("{what:<28} {time:>6.1} µs   {:.2} x PING", time / medians[0]);
    }
}
