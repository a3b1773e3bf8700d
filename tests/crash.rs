//! A writer killed with SIGKILL between its commit and its invalidation: with `hold` nothing stale is left once the hold has lapsed;
//! without, the old value stays until its TTL.
//!
//! The test is a program of its own: as `child` it writes, says so, and waits to be killed. A file is the database.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use staleproof::{Cache, cached, invalidates};
use test_support::{shared_url, unique};

/// How long a hold lasts here, and so for how long after a crash readers go to the source.
const HOLD: Duration = Duration::from_millis(500);

/// The TTL of what is cached here: the bound on staleness without a hold.
const TTL: Duration = Duration::from_secs(3);

struct Table {
    file: PathBuf,
    cache: Cache,
}

impl Table {
    #[cached(ttl = TTL, jitter = 0.0, key_prefix = "crash")]
    async fn value(&self, id: u32) -> String {
        std::fs::read_to_string(&self.file).expect("the file is there")
    }

    #[invalidates(Self::value(id), hold = HOLD)]
    async fn write_held(&self, id: u32) {
        self.commit_and_die(id).await;
    }

    #[invalidates(Self::value(id))]
    async fn write_plainly(&self, id: u32) {
        self.commit_and_die(id).await;
    }

    async fn commit_and_die(&self, _id: u32) {
        std::fs::write(&self.file, "new").expect("the file can be written");
        println!("committed");
        std::future::pending::<()>().await;
    }

    async fn open(url: &str, namespace: &str, file: PathBuf) -> Self {
        let cache = Cache::builder().namespace(namespace).redis(url).connect().await.expect("Redis is there");
        Self { file, cache }
    }
}

async fn crash(held: bool) -> (Table, Instant) {
    let (url, namespace) = (shared_url(), unique("crash"));
    let file = std::env::temp_dir().join(&namespace);
    std::fs::write(&file, "old").expect("the file can be written");
    let table = Table::open(&url, &namespace, file.clone()).await;
    assert_eq!(table.value(1).await, "old");
    let mut child = Command::new(std::env::current_exe().expect("a test has a path"))
        .args(["child", if held { "held" } else { "plain" }, &url, &namespace])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts itself");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("the child speaks");
    assert_eq!(said.trim_end(), "committed");
    // SIGKILL: between the commit and the invalidation.
    child.kill().expect("the child is there");
    child.wait().expect("it ends");
    (table, Instant::now())
}

async fn with_hold() {
    let (table, killed) = crash(true).await;
    let loads = |table: &Table| table.cache.stats().total.loads;
    loop {
        let before = loads(&table);
        assert_eq!(table.value(1).await, "new", "{:?} after the kill", killed.elapsed());
        if loads(&table) == before {
            break;
        }
        assert!(killed.elapsed() < HOLD + TTL, "the hold lapses and values are stored again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("killed under a hold: never the old value; stored again {:?} after the kill", killed.elapsed());
    std::fs::remove_file(&table.file).expect("the file is there");
}

async fn without_hold() {
    let (table, killed) = crash(false).await;
    assert_eq!(table.value(1).await, "old", "nobody invalidated it");
    while table.value(1).await == "old" {
        assert!(killed.elapsed() < TTL, "the TTL is the bound");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("killed without one: the old value for {:?}, of a TTL of {TTL:?}", killed.elapsed());
    std::fs::remove_file(&table.file).expect("the file is there");
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, kind, url, namespace, file] = arguments.as_slice()
        && role == "child"
    {
        let table = Table::open(url, namespace, file.into()).await;
        return if kind == "held" { table.write_held(1).await } else { table.write_plainly(1).await };
    }
    with_hold().await;
    without_hold().await;
    println!("2 passed, 0 failed");
}
