//! How many hits a second does Redis give, and how long does each take, by the mode of copies? Beside a raw `GET` and decoding, and
//! a bare `PING`.
//!
//! ```sh
//! cargo run --release -p benches --bin hits_a_second [seconds for each row]
//! ```
//!
//! Each task asks for one of 1,024 keys, takes the answer, and asks again. Client and server share the machine. The rows
//! take turns, three times each; the medians are shown.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{AsyncCommands as _, aio::MultiplexedConnection};
use serde::{Deserialize, Serialize};
use staleproof::{Cache, L1, cached};
use test_support::{RedisServer, unique};

const KEYS: u64 = 1_024;
const ROUNDS: usize = 3;

/// Twenty of these are about 1.2 KB encoded.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    id: u64,
    name: String,
    city: String,
    rate: f64,
    active: bool,
}

fn rows() -> Vec<Row> {
    let row = |id| Row {
        id,
        name: format!("employee number {id:>6}"),
        city: "somewhere on the coast".into(),
        rate: 12.5,
        active: true,
    };
    (0..20).map(row).collect()
}

#[derive(Clone)]
struct Service {
    cache: Cache,
}

impl Service {
    #[cached(ttl = "15m", key_prefix = "bench_rows")]
    async fn rows(&self, owner: u64, kind: &str) -> Arc<Vec<Row>> {
        Arc::new(rows())
    }
}

/// Who is asked.
#[derive(Clone)]
enum Reader {
    Raw(MultiplexedConnection),
    Ping(MultiplexedConnection),
    Ours(Service),
}

impl Reader {
    async fn read(&mut self, key: u64) -> usize {
        match self {
            Self::Raw(connection) => {
                let bytes: Vec<u8> = connection.get(format!("raw:{key}:active")).await.expect("GET");
                postcard::from_bytes::<Vec<Row>>(&bytes).expect("rows decode").len()
            }
            Self::Ping(connection) => {
                let () = connection.ping().await.expect("PING");
                20
            }
            Self::Ours(service) => service.rows(key, "active").await.len(),
        }
    }
}

/// Hits a second, and the 50th and 99th percentile of their time.
#[derive(Clone, Copy, Debug)]
struct Figures {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

async fn measure(reader: &Reader, tasks: usize, span: Duration) -> Figures {
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (mut reader, stop) = (reader.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    assert_eq!(reader.read(fastrand::u64(..KEYS)).await, 20);
                    times.push(asked.elapsed());
                }
                times
            })
        })
        .collect();
    tokio::time::sleep(span).await;
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for task in running {
        times.extend(task.await.expect("no reader panics"));
    }
    #[allow(clippy::cast_precision_loss, reason = "it is printed with three digits")]
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    times.sort_unstable();
    Figures { rate, p50: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
}

fn median(mut rounds: Vec<Figures>) -> Figures {
    rounds.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    rounds[rounds.len() / 2]
}

#[tokio::main]
async fn main() {
    let span = std::env::args().nth(1).map_or(2.0, |text| text.parse().expect("seconds for each row"));
    let span = Duration::from_secs_f64(span);
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut raw = client.get_multiplexed_async_connection().await.expect("Redis is there");
    for key in 0..KEYS {
        let value = postcard::to_stdvec(&rows()).expect("rows encode");
        let () = raw.set(format!("raw:{key}:active"), value).await.expect("SET");
    }
    let ours = async |mode| {
        let cache = Cache::builder().namespace(unique("bench")).redis(server.url()).l1(mode).connect().await;
        let service = Service { cache: cache.expect("a cache") };
        for key in 0..KEYS {
            service.rows(key, "active").await;
        }
        Reader::Ours(service)
    };
    let readers = [
        ("raw GET and postcard", Reader::Raw(raw.clone())),
        ("PING", Reader::Ping(raw)),
        ("#[cached], no copies", ours(L1::Off).await),
        ("#[cached], validated", ours(L1::Validated).await),
        ("#[cached], leased", ours(L1::Leased).await),
    ];
    println!("{:>5}  {:<26} {:>9}  {:>8}  {:>8}  beside raw", "tasks", "", "hits/s", "p50", "p99");
    for tasks in [1, 64, 256] {
        let mut rounds = readers.each_ref().map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for ((_, reader), figures) in readers.iter().zip(&mut rounds) {
                figures.push(measure(reader, tasks, span).await);
            }
        }
        let figures = rounds.map(median);
        for ((name, _), row) in readers.iter().zip(figures) {
            let times = row.rate / figures[0].rate;
            let micros = |time: Duration| format!("{} µs", time.as_micros());
            println!(
                "{tasks:>5}  {name:<26} {:>9.0}  {:>8}  {:>8}  {times:.2} ×",
                row.rate,
                micros(row.p50),
                micros(row.p99)
            );
        }
    }
}
