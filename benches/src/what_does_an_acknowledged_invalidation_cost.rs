//! What does an invalidation cost that waits until other processes have dropped the value from their memory? Beside a `PING`.
//!
//! ```sh
//! cargo run --release -p benches --bin what_does_an_acknowledged_invalidation_cost
//! ```
//!
//! Members are processes of their own and keep nothing; they are told and acknowledge. Client, members and server share the
//! machine. The rows take turns with the `PING`; medians and the 99th percentile are shown. *Bare* is what the way there and back
//! costs by itself: a `PUBLISH` to as many processes, each of which answers with one, and none does anything else. At last a member is stopped, as a
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
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

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

/// Answers what is published.
async fn bare(url: &str, namespace: &str) {
    let (mut connection, mut pushes) = subscribed(url, &format!("{namespace}:there")).await;
    let back = format!("{namespace}:back");
    while pushes.recv().await.is_some() {
        redis::cmd("PUBLISH").arg(&back).arg("x").query_async::<()>(&mut connection).await.expect("Redis answers");
    }
}

async fn subscribed(url: &str, channel: &str) -> (MultiplexedConnection, UnboundedReceiver<()>) {
    let (told, pushes) = unbounded_channel();
    let listen = move |push: redis::PushInfo| {
        if push.kind == redis::PushKind::Message {
            // Nobody waits any more.
            let _ = told.send(());
        }
        Ok::<(), ()>(())
    };
    let client = redis::Client::open(format!("{url}?protocol=resp3")).expect("a URL");
    let config = redis::AsyncConnectionConfig::new().set_push_sender(listen);
    let connection = client.get_multiplexed_async_connection_with_config(&config).await;
    let mut connection = connection.expect("Redis is there");
    connection.subscribe(channel).await.expect("it can be subscribed to");
    (connection, pushes)
}

async fn member(url: &str, namespace: &str) {
    let store = store(url, namespace).await;
    assert!(store.feed(Arc::new(Nothing)));
    std::future::pending::<()>().await;
}

struct Members(Vec<Child>);

impl Members {
    fn add(&mut self, role: &str, url: &str, namespace: &str) {
        let mut command = Command::new(std::env::current_exe().expect("this is a program"));
        self.0.push(command.args([role, url, namespace]).stdin(Stdio::null()).spawn().expect("a process"));
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

    /// What is published to as many that are bare, and comes back.
    async fn bare(&mut self, url: &str, count: usize) {
        let (mut members, namespace) = (Members(Vec::new()), unique("bare"));
        let (mut connection, mut pushes) = subscribed(url, &format!("{namespace}:back")).await;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(format!("{namespace}:there")).arg("x");
        (0..count).for_each(|_| members.add("bare", url, &namespace));
        while publish.query_async::<usize>(&mut connection).await.expect("Redis answers") < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        while pushes.try_recv().is_ok() {}
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            times[0].push(self.ping().await);
            let began = Instant::now();
            publish.query_async::<()>(&mut connection).await.expect("Redis answers");
            for _ in 0..count {
                pushes.recv().await.expect("it is answered");
            }
            times[1].push(began.elapsed());
        }
        print(&format!("{count} bare"), times);
    }

    async fn row(&mut self, name: &str) {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            times[0].push(self.ping().await);
            times[1].push(self.invalidate().await);
        }
        print(name, times);
    }
}

fn print(name: &str, times: [Vec<Duration>; 2]) {
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

#[tokio::main(worker_threads = 1)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, url, namespace] = arguments.as_slice()
        && role == "member"
    {
        return member(url, namespace).await;
    }
    if let [_, role, url, namespace] = arguments.as_slice()
        && role == "bare"
    {
        return bare(url, namespace).await;
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
            members.add("member", &url, &namespace);
        }
        ground.bare(&url, count).await;
        ground.until_members(count).await;
        ground.row(&format!("{count} members")).await;
    }
    members.signal(0, "-STOP");
    println!("{:<34} {:>7.1} ms", "one is stopped", ground.invalidate().await.as_secs_f64() * 1e3);
    println!("{:<34} {:>7.1} ms", "the next invalidation", ground.invalidate().await.as_secs_f64() * 1e3);
    members.signal(0, "-CONT");
}
