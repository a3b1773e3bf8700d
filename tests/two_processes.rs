//! Two processes on one Redis: one load for both, and neither keeps what the other invalidated.
//!
//! The test is a program of its own: as `child` it obeys lines on its standard input and answers with lines on its
//! standard output.

mod source;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use source::{Service, Source};
use staleproof::{Cache, Outcome, cached, keys};
use test_support::shared_url;

const CALLERS: usize = 1000;

#[derive(Clone)]
struct Slow {
    cache: Cache,
}

impl Slow {
    /// Each load leaves its mark on standard error of the process, counted by the parent through `loads`.
    #[cached(ttl = "1m", key_prefix = "slow")]
    async fn value(&self, id: u32) -> u32 {
        LOADS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(150)).await;
        id
    }
}

static LOADS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

async fn connect(url: &str, namespace: &str) -> Cache {
    Cache::builder()
        .namespace(namespace)
        .redis(url)
        // Two thousand tasks on two cores in a debug build: the bound on calls is not what this test is about.
        .call_timeout(Duration::from_secs(5))
        .connect()
        .await
        .expect("Redis is there")
}

async fn crowd(cache: &Cache, id: u32) -> usize {
    let before = LOADS.load(std::sync::atomic::Ordering::SeqCst);
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let slow = Slow { cache: cache.clone() };
            tokio::spawn(async move { slow.value(id).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.expect("a caller ends"), id);
    }
    LOADS.load(std::sync::atomic::Ordering::SeqCst) - before
}

/// The other process: `crowd ID`, `load` (stops half-way), `go`, `read`, `write KIND`.
async fn child(url: &str, namespace: &str) {
    let cache = connect(url, namespace).await;
    let source = Source::new();
    let service = Service::new(cache.clone(), &source);
    let mut loading = None;
    println!("ready");
    while let Some(Ok(line)) = std::io::stdin().lines().next() {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("crowd", id) => println!("{}", crowd(&cache, id.parse().expect("a number")).await),
            ("load", _) => {
                source.close();
                let service = service.clone();
                loading = Some(tokio::spawn(async move { service.page(7, "a:b").await }));
                source.reached().await;
                println!("stopped");
            }
            ("go", _) => {
                source.open();
                println!("{}", loading.take().expect("a load is stopped").await.expect("it ends"));
            }
            ("write", _) => println!("{}", source.write()),
            ("read", _) => println!("{}", service.page(7, "a:b").await),
            (other, _) => panic!("unknown command {other}"),
        }
    }
}

struct Other {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Other {
    fn start(url: &str, namespace: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("a test has a path"))
            .args(["child", url, namespace])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test starts itself");
        let to = process.stdin.take().expect("piped");
        let from = BufReader::new(process.stdout.take().expect("piped"));
        let mut other = Self { process, to, from };
        assert_eq!(other.hear(), "ready");
        other
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").expect("the child listens");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the child answers");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    fn end(mut self) {
        drop(self.to);
        assert!(self.process.wait().expect("the child ends").success());
    }
}

async fn one_load_for_both(url: &str) {
    let namespace = format!("crowd_{}", std::process::id());
    let cache = connect(url, &namespace).await;
    let mut other = Other::start(url, &namespace);
    for id in 0..3 {
        other.tell(&format!("crowd {id}"));
        let here = crowd(&cache, id).await;
        let there: usize = other.hear().parse().expect("a number");
        assert_eq!(here + there, 1, "{CALLERS} callers in each of two processes: {here} loads here and {there} there");
    }
    other.end();
    println!("{CALLERS} callers of one cold key in each of two processes: 1 load in all");
}

async fn no_stale_fill_across(url: &str) {
    let kinds = [
        ("entry", keys![Service::page(7, "a:b")]),
        ("node", keys![Service::page(7, ..)]),
        ("tag", keys![tag("owner:7")]),
        ("glob", keys!["paged:7:*"]),
    ];
    for (kind, targets) in kinds {
        let namespace = format!("across_{kind}_{}", std::process::id());
        let cache = connect(url, &namespace).await;
        let mut other = Other::start(url, &namespace);
        assert_eq!(other.ask("load"), "stopped");
        // Its load has read version 1; the write to come belongs to this process's view of the same source.
        assert_eq!(other.ask("write"), "2");
        assert_eq!(cache.invalidate(targets).await, Outcome::Applied);
        let source = Source::new();
        source.write();
        let here = Service::new(cache, &source);
        assert_eq!(here.page(7, "a:b").await, 2, "{kind}: served what the other process had read before");
        assert_eq!(other.ask("go"), "1", "{kind}: the early caller has what it loaded");
        assert_eq!(other.ask("read"), "2", "{kind}: the other process stored or kept the old value");
        assert_eq!(here.page(7, "a:b").await, 2, "{kind}: the old value was stored");
        other.end();
        println!("{kind}: a load of another process that began before the invalidation stored nothing");
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, url, namespace] = arguments.as_slice()
        && role == "child"
    {
        return child(url, namespace).await;
    }
    let url = shared_url();
    one_load_for_both(&url).await;
    no_stale_fill_across(&url).await;
    println!("5 passed, 0 failed");
}
