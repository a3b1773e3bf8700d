//! What does it cost to ask whether a value still holds? Beside a `PING`, and beside reading the value.
//!
//! ```sh
//! cargo run --release -p benches --bin what_does_a_validated_hit_cost [seconds for each row]
//! ```
//!
//! Each task asks for one of 64 keys, takes the answer, and asks again. A key has two arguments, so an answer takes three
//! tokens. Client and server share the machine. With one task the questions take turns, one of each, and the medians of
//! their times are shown; with more the rows take turns, five times each, and the medians of their rates are shown.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::{
    Key, Store as _,
    store::{Acquired, Payload, Purpose, Read, Stored},
};
use cache_redis::{RedisConfig, RedisStore};
use redis::aio::MultiplexedConnection;
use test_support::{RedisServer, unique};

const KEYS: usize = 64;
const ROUNDS: usize = 5;
const LONG: Duration = Duration::from_secs(3_600);

#[derive(Clone)]
struct Ground {
    raw: MultiplexedConnection,
    store: Arc<RedisStore>,
    /// Of 1.2 KB and of 64 KB each.
    values: [Arc<Vec<(Key, Stored)>>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Ping,
    Holds(usize),
    Read(usize),
}

const ALL: [(What, &str); 5] = [
    (What::Ping, "PING, the floor"),
    (What::Holds(0), "still_holds, 1.2 KB"),
    (What::Holds(1), "still_holds, 64 KB"),
    (What::Read(0), "read, 1.2 KB"),
    (What::Read(1), "read, 64 KB"),
];

async fn filled(store: &RedisStore, name: &str, bytes: usize) -> Arc<Vec<(Key, Stored)>> {
    let mut filled = Vec::new();
    for number in 0..KEYS {
        let key = Key::new("bench").arg(name).arg(&number);
        let purpose = Purpose::Load { unreadable: None };
        let Ok(Acquired::Lease(lease)) = store.acquire(&key, purpose, LONG).await else { panic!("no lease") };
        let payload = Payload::Bytes(vec![b'x'; bytes].into());
        store.fill(&key, &lease, payload.clone(), LONG).await.expect("it is stored");
        filled.push((key, Stored { id: lease.id, payload }));
    }
    Arc::new(filled)
}

impl Ground {
    async fn new(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).expect("a URL");
        let raw = client.get_multiplexed_async_connection().await.expect("Redis is there");
        let config = RedisConfig::new(server.url()).namespace(unique("bench")).call_timeout(Duration::from_secs(5));
        let store = RedisStore::connect(config.require()).await.expect("Redis is there");
        let values = [filled(&store, "small", 1_200).await, filled(&store, "large", 64 << 10).await];
        Self { raw, store: Arc::new(store), values }
    }

    async fn ask(&mut self, what: What) {
        let number = fastrand::usize(..KEYS);
        match what {
            What::Ping => redis::cmd("PING").query_async::<()>(&mut self.raw).await.expect("PONG"),
            What::Holds(size) => {
                let (key, known) = &self.values[size][number];
                assert!(self.store.still_holds(key, known).await.expect("Redis answers"));
            }
            What::Read(size) => {
                let read = self.store.read(&self.values[size][number].0).await.expect("Redis answers");
                assert!(matches!(read, Read::Hit(_)));
            }
        }
    }

    /// What a question takes by itself.
    async fn alone(mut self, rounds: usize) -> [Duration; ALL.len()] {
        let mut times = [const { Vec::new() }; ALL.len()];
        for _ in 0..rounds {
            for (times, (what, _)) in times.iter_mut().zip(ALL) {
                let began = Instant::now();
                self.ask(what).await;
                times.push(began.elapsed());
            }
        }
        times.map(|mut times| {
            times.sort_unstable();
            times[rounds / 2]
        })
    }

    /// How many answers a second that many tasks get.
    async fn rate(&self, what: What, tasks: u32, lasts: Duration) -> f64 {
        let (is_over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let began = Instant::now();
        let asking: Vec<_> = (0..tasks)
            .map(|_| {
                let (mut ground, is_over, answers) = (self.clone(), Arc::clone(&is_over), Arc::clone(&answers));
                tokio::spawn(async move {
                    while !is_over.load(Ordering::Relaxed) {
                        ground.ask(what).await;
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        tokio::time::sleep(lasts).await;
        is_over.store(true, Ordering::Relaxed);
        for task in asking {
            task.await.expect("no task panics");
        }
        #[allow(clippy::cast_precision_loss, reason = "it is printed with few digits")]
        let answers = answers.load(Ordering::Relaxed) as f64;
        answers / began.elapsed().as_secs_f64()
    }
}

#[tokio::main(worker_threads = 1)]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(1.0);
    let server = RedisServer::start();
    let ground = Ground::new(&server).await;
    // In a task, as all others: the main thread has to be woken for each answer.
    let alone = tokio::spawn(ground.clone().alone(20_000)).await.expect("no question fails");
    for (time, (_, name)) in alone.iter().zip(ALL) {
        let (micros, times) = (time.as_secs_f64() * 1e6, time.as_secs_f64() / alone[0].as_secs_f64());
        println!("   1 task   {name:<22} {micros:>31.1} us each {times:>6.2} x PING");
    }
    for tasks in [64, 256_u32] {
        let mut rates = [const { Vec::new() }; ALL.len()];
        for _ in 0..ROUNDS {
            for (rates, (what, _)) in rates.iter_mut().zip(ALL) {
                rates.push(ground.rate(what, tasks, Duration::from_secs_f64(seconds)).await);
            }
        }
        let medians = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[ROUNDS / 2]
        });
        for (rate, (_, name)) in medians.iter().zip(ALL) {
            let (micros, times) = (1e6 * f64::from(tasks) / rate, medians[0] / rate);
            println!("{tasks:>4} tasks  {name:<22} {rate:>9.0} a second {micros:>9.1} us each {times:>6.2} x PING");
        }
    }
}
