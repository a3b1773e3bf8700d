//! How long does a small value take while others read large ones? Beside a client that has one connection for both.
//!
//! ```sh
//! cargo run --release -p benches --bin do_large_values_hold_up_small_ones [seconds for each row]
//! ```
//!
//! 16 tasks read values of 100 bytes, and none or 8 others values of 256 KB, without copies in this process. Rows take turns, five times each; the
//! medians of the small reads' percentiles are shown, and how many large ones were read meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{AsyncCommands as _, aio::MultiplexedConnection};
use staleproof::{Cache, L1, cached};
use test_support::{RedisServer, unique};

const KEYS: u32 = 64;
const ROUNDS: usize = 5;

#[derive(Clone)]
struct Service {
    cache: Cache,
}

impl Service {
    #[cached(ttl = "15m", key_prefix = "bench_sizes")]
    async fn value(&self, size: usize, number: u32) -> String {
        "x".repeat(size)
    }
}

#[derive(Clone)]
enum Reader {
    Raw(MultiplexedConnection),
    Ours(Service),
}

impl Reader {
    async fn read(&mut self, size: usize) {
        let number = fastrand::u32(..KEYS);
        let length = match self {
            Self::Raw(connection) => {
                let value: String = connection.get(format!("raw:{size}:{number}")).await.expect("GET");
                value.len()
            }
            Self::Ours(service) => service.value(size, number).await.len(),
        };
        assert_eq!(length, size);
    }
}

const SMALL: usize = 100;
const LARGE: usize = 256 << 10;

/// The 50th and 99th percentile of small reads, and how many large ones there were a second.
async fn measure(reader: &Reader, large: usize, span: Duration) -> [f64; 3] {
    let stop = Arc::new(AtomicBool::new(false));
    let read = |size| {
        let (mut reader, stop) = (reader.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                reader.read(size).await;
                times.push(asked.elapsed().as_secs_f64() * 1e6);
            }
            times
        })
    };
    let small: Vec<_> = (0..16).map(|_| read(SMALL)).collect();
    let large: Vec<_> = (0..large).map(|_| read(LARGE)).collect();
    tokio::time::sleep(span).await;
    stop.store(true, Ordering::Relaxed);
    let (mut times, mut larges) = (Vec::new(), 0);
    for task in small {
        times.extend(task.await.expect("no reader panics"));
    }
    for task in large {
        larges += task.await.expect("no reader panics").len();
    }
    times.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "it is printed with three digits")]
    let rate = larges as f64 / span.as_secs_f64();
    [times[times.len() / 2], times[times.len() * 99 / 100], rate]
}

#[tokio::main]
async fn main() {
    let span = std::env::args().nth(1).map_or(1.0, |text| text.parse().expect("seconds for each row"));
    let span = Duration::from_secs_f64(span);
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut raw = client.get_multiplexed_async_connection().await.expect("Redis is there");
    let cache = Cache::builder().namespace(unique("bench")).redis(server.url()).l1(L1::Off).connect().await;
    let service = Service { cache: cache.expect("a cache") };
    for size in [SMALL, LARGE] {
        for number in 0..KEYS {
            let () = raw.set(format!("raw:{size}:{number}"), "x".repeat(size)).await.expect("SET");
            service.value(size, number).await;
        }
    }
    // A connection for large values is opened within a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let readers = [("one connection, GET", Reader::Raw(raw)), ("#[cached]", Reader::Ours(service))];
    println!("{:<22} {:>14}  {:>9}  {:>9}  {:>14}", "", "large readers", "small p50", "p99", "large values/s");
    for large in [0, 8] {
        let mut rounds = readers.each_ref().map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for ((_, reader), figures) in readers.iter().zip(&mut rounds) {
                figures.push(measure(reader, large, span).await);
            }
        }
        for ((name, _), figures) in readers.iter().zip(rounds) {
            let median = |column: usize| {
                let mut values: Vec<_> = figures.iter().map(|row| row[column]).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            println!("{name:<22} {large:>14}  {:>6.0} µs  {:>6.0} µs  {:>14.0}", median(0), median(1), median(2));
        }
    }
}
