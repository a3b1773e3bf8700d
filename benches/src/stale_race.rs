//! Is anybody served a value from before an invalidation that has returned?
//!
//! 32 keys; 4 writers, each of which writes to the source, invalidates, and pauses 5 ms; 64 readers; a loader that takes 0 to
//! 5 ms after its read of the source. A violation is a read that began after an invalidation had returned and got a value
//! older than that write. Stuck: a key still old after all is quiet. The same is done by hand with GET, SET and DEL.
//!
//! ```sh
//! cargo run --release -p benches --bin stale_race [seconds]
//! ```

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::AsyncCommands;
use staleproof::{Cache, Key, Outcome, Policy};
use test_support::{RedisServer, unique};

const KEYS: usize = 32;

/// A cache under test: reads through it, and invalidates.
trait Subject: Clone + Send + Sync + 'static {
    fn read(&self, key: usize, world: &World) -> impl Future<Output = u64> + Send;
    /// Whether the invalidation is in force everywhere.
    fn invalidate(&self, key: usize) -> impl Future<Output = bool> + Send;
}

/// The source, and for each key the newest version whose invalidation has returned.
#[derive(Default)]
struct World {
    source: [AtomicU64; KEYS],
    floor: [AtomicU64; KEYS],
    reads: AtomicU64,
    violations: AtomicU64,
    /// Invalidations that Redis did not answer in time: a promise to this instance only.
    journaled: AtomicU64,
    stop: AtomicBool,
}

impl World {
    async fn load(&self, key: usize) -> u64 {
        let seen = self.source[key].load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..5_000))).await;
        seen
    }
}

#[derive(Clone)]
struct Ours(Cache);

impl Subject for Ours {
    async fn read(&self, key: usize, world: &World) -> u64 {
        let policy = Policy::new(Duration::from_secs(600));
        let load = async || Ok::<_, Infallible>(world.load(key).await);
        self.0.get_or_load(&Key::new("race").arg(&key), &policy, load).await.unwrap_or_else(|never| match never {})
    }

    async fn invalidate(&self, key: usize) -> bool {
        self.0.invalidate([Key::new("race").arg(&key).into_entry()]).await == Outcome::Applied
    }
}

/// What is written by hand everywhere.
#[derive(Clone)]
struct ByHand(redis::aio::MultiplexedConnection, String);

impl Subject for ByHand {
    async fn read(&self, key: usize, world: &World) -> u64 {
        let (mut redis, name) = (self.0.clone(), format!("{}:{key}", self.1));
        if let Some(value) = redis.get(&name).await.expect("Redis is there") {
            return value;
        }
        let value = world.load(key).await;
        let () = redis.set_ex(&name, value, 600).await.expect("Redis is there");
        value
    }

    async fn invalidate(&self, key: usize) -> bool {
        let () = self.0.clone().del(format!("{}:{key}", self.1)).await.expect("Redis is there");
        true
    }
}

async fn race<S: Subject>(name: &str, instances: Vec<S>, seconds: u64) {
    let world = Arc::new(World::default());
    let mut tasks = Vec::new();
    for writer in 0..4_usize {
        let (world, subject) = (Arc::clone(&world), instances[writer % instances.len()].clone());
        tasks.push(tokio::spawn(async move {
            while !world.stop.load(Ordering::SeqCst) {
                // Each writer has keys of its own, so that its newest write is the key's newest.
                let key = fastrand::usize(..KEYS / 4) * 4 + writer;
                let new = world.source[key].fetch_add(1, Ordering::SeqCst) + 1;
                if subject.invalidate(key).await {
                    world.floor[key].fetch_max(new, Ordering::SeqCst);
                } else {
                    world.journaled.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
    }
    for reader in 0..64_usize {
        let (world, subject) = (Arc::clone(&world), instances[reader % instances.len()].clone());
        tasks.push(tokio::spawn(async move {
            while !world.stop.load(Ordering::SeqCst) {
                let key = fastrand::usize(..KEYS);
                let floor = world.floor[key].load(Ordering::SeqCst);
                let seen = subject.read(key, &world).await;
                world.reads.fetch_add(1, Ordering::Relaxed);
                if seen < floor {
                    world.violations.fetch_add(1, Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    world.stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("no task panics");
    }
    let mut stuck = 0;
    for key in 0..KEYS {
        let newest = world.source[key].load(Ordering::SeqCst);
        stuck += usize::from(instances[0].read(key, &world).await < newest);
    }
    let (reads, violations) = (world.reads.load(Ordering::SeqCst), world.violations.load(Ordering::SeqCst));
    let (million, journaled) = (violations * 1_000_000 / reads.max(1), world.journaled.load(Ordering::SeqCst));
    println!("{name:<36} {reads:>10} {violations:>11} {million:>13} {stuck:>6} {journaled:>10}");
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).map_or(10, |text| text.parse().expect("a number of seconds"));
    let server = RedisServer::start();
    let connect = async |namespace: String| {
        Ours(Cache::builder().namespace(namespace).redis(server.url()).connect().await.expect("Redis is there"))
    };
    println!(
        "{:<36} {:>10} {:>11} {:>13} {:>6} {:>10}",
        "", "reads", "violations", "per million", "stuck", "journaled"
    );
    race("staleproof in memory", vec![Ours(Cache::memory())], seconds).await;
    race("staleproof on Redis", vec![connect(unique("one")).await], seconds).await;
    let both = unique("two");
    race("staleproof on Redis, two instances", vec![connect(both.clone()).await, connect(both).await], seconds).await;
    let client = redis::Client::open(server.url()).expect("a URL");
    let connection = client.get_multiplexed_async_connection().await.expect("Redis is there");
    race("GET, SET and DEL by hand", vec![ByHand(connection, unique("hand"))], seconds).await;
}
