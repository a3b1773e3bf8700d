//! What does it cost to invalidate 100 entries among 1,000, 100,000 and 1,000,000 keys, and what do others notice of it meanwhile?
//!
//! Ours removes the token of the node above the entries. What others do is to look for the keys by their pattern: `SCAN` and `UNLINK`,
//! or `KEYS` and `DEL`. In between, the 100 entries are put back, which is not counted. Meanwhile four others `GET` one of the other
//! keys over and over; those `GET`s count that were under way during an invalidation. The server is one of this program's own, so
//! that nothing else is in it.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml what_does_an_invalidation_cost [seconds of each]
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{argument, table};
use redis::{AsyncCommands as _, aio::MultiplexedConnection};
use staleproof::{Cache, Outcome, cached, keys};
use test_support::RedisServer;

const ENTRIES: u32 = 100;
const OTHERS: usize = 4;

#[derive(Clone)]
struct Pages {
    cache: Cache,
}

impl Pages {
    #[cached(ttl = "15m", key_prefix = "page")]
    async fn page(&self, owner: u32, page: u32) -> u32 {
        owner + page
    }
}

/// How the entries are removed.
enum Way {
    /// None are: what a round trip takes.
    Ping,
    Node(Pages),
    Scan,
    Keys,
}

impl Way {
    async fn fill(&self, redis: &mut MultiplexedConnection) {
        let mut names = redis::pipe();
        match self {
            Self::Ping => return,
            Self::Node(pages) => {
                for page in 0..ENTRIES {
                    pages.page(7, page).await;
                }
                return;
            }
            Self::Scan | Self::Keys => {
                for page in 0..ENTRIES {
                    names.set_ex(format!("page:7:{page}"), page, 900).ignore();
                }
            }
        }
        let () = names.query_async(redis).await.expect("SET");
    }

    async fn invalidate(&self, redis: &mut MultiplexedConnection) {
        match self {
            Self::Ping => {
                let () = redis.ping().await.expect("PING");
            }
            Self::Node(pages) => {
                assert_eq!(pages.cache.invalidate(keys![Pages::page(7, ..)]).await, Outcome::Applied);
            }
            Self::Scan => {
                let mut scan = redis::cmd("SCAN");
                scan.cursor_arg(0).arg("MATCH").arg("page:7:*").arg("COUNT").arg(1_000);
                let mut found = scan.iter_async::<String>(redis).await.expect("SCAN");
                let mut names = Vec::new();
                while let Some(name) = found.next_item().await {
                    names.push(name.expect("SCAN"));
                }
                drop(found);
                names.sort_unstable();
                names.dedup();
                let removed: u32 = redis.unlink(names).await.expect("UNLINK");
                assert_eq!(removed, ENTRIES);
            }
            Self::Keys => {
                let names: Vec<String> = redis.keys("page:7:*").await.expect("KEYS");
                let removed: u32 = redis.del(names).await.expect("DEL");
                assert_eq!(removed, ENTRIES);
            }
        }
    }
}

/// Somebody else: the times of the reads that were under way during an invalidation.
async fn other(
    mut redis: MultiplexedConnection,
    keys: u32,
    under_way: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let (before, asked) = (under_way.load(Ordering::SeqCst), Instant::now());
        let _: Option<String> = redis.get(format!("other:{}", fastrand::u32(..keys))).await.expect("GET");
        if before || under_way.load(Ordering::SeqCst) {
            times.push(asked.elapsed());
        }
    }
    times
}

/// The median of the invalidations, and the 99th percentile of the others' reads.
async fn measure(way: &Way, client: &redis::Client, keys: u32, span: Duration) -> (Duration, Duration) {
    let [under_way, stop] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        let redis = client.get_multiplexed_async_connection().await.expect("Redis is there");
        others.push(tokio::spawn(other(redis, keys, Arc::clone(&under_way), Arc::clone(&stop))));
    }
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut redis = client.get_multiplexed_async_connection_with_config(&config).await.expect("Redis is there");
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < span || times.len() < 5 {
        way.fill(&mut redis).await;
        under_way.store(true, Ordering::SeqCst);
        let asked = Instant::now();
        way.invalidate(&mut redis).await;
        times.push(asked.elapsed());
        under_way.store(false, Ordering::SeqCst);
    }
    stop.store(true, Ordering::SeqCst);
    let mut reads = Vec::new();
    for other in others {
        reads.extend(other.await.expect("nobody panics"));
    }
    (share(times, 50), share(reads, 99))
}

fn share(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// So many keys that have nothing to do with it.
async fn fill(redis: &mut MultiplexedConnection, filled: u32, keys: u32) {
    for first in (filled..keys).step_by(1_000) {
        let mut names = redis::pipe();
        for id in first..first + 1_000 {
            names.set(format!("other:{id}"), "x").ignore();
        }
        let () = names.query_async(redis).await.expect("SET");
    }
}

pub async fn run() {
    let span = Duration::from_secs_f64(argument(1, 0.7));
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis is there");
    let cache = Cache::builder().namespace("pages").redis(server.url()).connect().await.expect("Redis is there");
    let ways = [
        ("`PING`", Way::Ping),
        ("**staleproof**: one token", Way::Node(Pages { cache })),
        ("`SCAN` with `COUNT 1000`, `UNLINK`", Way::Scan),
        ("`KEYS`, `DEL`", Way::Keys),
    ];
    let mut lines = ways.each_ref().map(|(name, _)| vec![(*name).to_owned()]);
    let mut filled = 0;
    for keys in [1_000, 100_000, 1_000_000] {
        fill(&mut redis, filled, keys).await;
        filled = keys;
        for ((_, way), line) in ways.iter().zip(&mut lines) {
            let (time, read) = measure(way, &client, keys, span).await;
            let [time, read] = [time, read].map(|time| table::digits(time.as_secs_f64() * 1e3));
            line.push(format!("{time} ({read})"));
        }
    }
    let columns = ["1,000 keys: ms (others' `GET`, p99)", "100,000 keys", "1,000,000 keys"];
    table::print(&table::columns(columns), &lines);
}
