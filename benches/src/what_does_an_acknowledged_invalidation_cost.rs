//! What does an invalidation cost that waits until other processes have dropped the value from their memory? Beside a `PING`.
//!
//! ```sh
//! cargo run --release -p benches --bin what_does_an_acknowledged_invalidation_cost
//! ```
//!
//! Members are processes of their own and keep nothing; they are told and acknowledge. Client, members and server share the
//! machine. The rows that need no waiting take turns; medians and the 99th percentile are shown. At last a member is stopped, as a
//! debugger or a starved machine does it: the first invalidation waits for its lease, the next one does not.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{Key, Outcome, Store as _, Target, store::Nearby};
use cache_redis::{RedisConfig, RedisStore};
use redis::aio::MultiplexedConnection;
use test_support::{RedisServer, unique};

const ROUNDS: usize = 4_000;

/// Keeps nothing.
struct Nothing;

impl Nearby for Nothing {
    fn invalidate(&self, _targets: &[Target]) {}

    fn empty(&self) {}

    fn may_serve_until(&self, _until: Instant) {}
}

async fn store(url: &str, namespace: &str) -> RedisStore {
    let config = RedisConfig::new(url).namespace(namespace).call_timeout(Duration::from_secs(5));
    RedisStore::connect(config.require()).await.expect("Redis is there")
}

async fn member(url: &str, namespace: &str) {
    let store = store(url, namespace).await;
    assert!(store.feed(Arc::new(Nothing)));
    std::future::pending::<()>().await;
}

struct Members(Vec<Child>);

impl Members {
    fn add(&mut self, url: &str, namespace: &str) {
        let mut command = Command::new(std::env::current_exe().expect("this is a program"));
        self.0.push(command.args(["member", url, namespace]).stdin(Stdio::null()).spawn().expect("a process"));
    }

    fn signal(&self, number: usize, signal: &str) {
        let id = self.0[number].id().to_string();
        Command::new("kill").args([signal, &id]).status().expect("there is kill");
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Ground {
    raw: MultiplexedConnection,
    store: RedisStore,
    namespace: String,
}

impl Ground {
    async fn ping(&mut self) -> Duration {
        let began = Instant::now();
        redis::cmd("PING").query_async::<()>(&mut self.raw).await.expect("PONG");
        began.elapsed()
    }

    async fn invalidate(&self) -> Duration {
        let targets = [Key::new("bench").arg(&fastrand::u32(..)).into_node()];
        let began = Instant::now();
        assert_eq!(self.store.invalidate(&targets).await.expect("Redis answers"), Outcome::Applied);
        began.elapsed()
    }

    /// Until all are in the registry and it is known that nobody else is.
    async fn until_members(&mut self, count: usize) {
        let registry = format!("{}:#members", self.namespace);
        loop {
            let length: usize =
                redis::cmd("HLEN").arg(&registry).query_async(&mut self.raw).await.expect("Redis answers");
            if length == count + 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        // Opens its ears.
        self.invalidate().await;
    }

    async fn row(&mut self, name: &str) {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            times[0].push(self.ping().await);
            times[1].push(self.invalidate().await);
        }
        let [ping, invalidation] = times.map(|mut times| {
            times.sort_unstable();
            [times[ROUNDS / 2], times[ROUNDS * 99 / 100]].map(|time| time.as_secs_f64() * 1e6)
        });
        println!(
            "{name:<34} {:>7.1} us, 99 %: {:>7.1} us   PING {:>6.1} us, 99 %: {:>6.1} us   {:>5.2} x PING",
            invalidation[0],
            invalidation[1],
            ping[0],
            ping[1],
            invalidation[0] / ping[0],
        );
    }
}

#[tokio::main(worker_threads = 1)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, url, namespace] = arguments.as_slice()
        && role == "member"
    {
        return member(url, namespace).await;
    }
    let (server, namespace) = (RedisServer::start(), unique("bench"));
    let url = server.url();
    let client = redis::Client::open(url.as_str()).expect("a URL");
    let raw = client.get_multiplexed_async_connection().await.expect("Redis is there");
    let mut ground = Ground { raw, store: store(&url, &namespace).await, namespace: namespace.clone() };
    ground.row("nobody keeps anything").await;
    let mut members = Members(Vec::new());
    for count in [1, 2, 4, 8] {
        while members.0.len() < count {
            members.add(&url, &namespace);
        }
        ground.until_members(count).await;
        ground.row(&format!("{count} members")).await;
    }
    members.signal(0, "-STOP");
    println!("{:<34} {:>7.1} ms", "one is stopped", ground.invalidate().await.as_secs_f64() * 1e3);
    println!("{:<34} {:>7.1} ms", "the next invalidation", ground.invalidate().await.as_secs_f64() * 1e3);
    members.signal(0, "-CONT");
}
