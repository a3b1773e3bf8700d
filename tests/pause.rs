//! A process that was stopped for longer than a TTL serves nothing that is over when it goes on, not even in its first moment.
//!
//! The test is a program of its own: as `child` it caches a value, and asks for it again as soon as it is told to.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use staleproof::{Cache, cached};

const TTL: Duration = Duration::from_millis(700);

static LOADS: AtomicU32 = AtomicU32::new(0);

struct Service {
    cache: Cache,
}

impl Service {
    #[cached(ttl = TTL, jitter = 0.0, key_prefix = "pause")]
    async fn value(&self, id: u32) -> u32 {
        LOADS.fetch_add(1, Ordering::SeqCst) + id
    }
}

fn child() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let service = Service { cache: Cache::memory() };
    runtime.block_on(service.value(1));
    println!("cached");
    std::io::stdin().read_line(&mut String::new()).expect("the parent speaks");
    runtime.block_on(service.value(1));
    println!("{}", LOADS.load(Ordering::SeqCst));
}

fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args([name, &process.to_string()]).status().expect("`kill` is there");
    assert!(status.success(), "{name}");
}

fn what_is_over_stays_over() {
    let mut child = Command::new(std::env::current_exe().expect("a test has a path"))
        .arg("child")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts itself");
    let (mut to, mut from) = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
    let mut said = String::new();
    from.read_line(&mut said).expect("the child speaks");
    assert_eq!(said.trim_end(), "cached");
    signal("-STOP", child.id());
    std::thread::sleep(2 * TTL);
    // It goes on with this line in its hands.
    writeln!(to, "again").expect("the child listens");
    signal("-CONT", child.id());
    said.clear();
    from.read_line(&mut said).expect("the child speaks");
    assert_eq!(said.trim_end(), "2", "loads");
    assert!(child.wait().expect("it ends").success());
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("child") {
        return child();
    }
    what_is_over_stays_over();
    println!("test what_is_over_stays_over ... ok");
}
