//! A process that is stopped while it keeps a value: an invalidation waits until it can no longer serve it, once.
//!
//! The test is a program of its own: as `child` it keeps a value, and then tells for each line that it gets what it would serve.

mod common;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use cache_core::{Outcome, Store};
use cache_redis::RedisStore;
use common::{Ground, config, fill, keeper::Keeper, page};

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, url, namespace] = arguments.as_slice()
        && role == "child"
    {
        runtime.block_on(child(url, namespace));
        return;
    }
    runtime.block_on(async {
        a_frozen_process_costs_a_lease_once_and_serves_nothing_when_it_wakes().await;
        println!("test a_frozen_process_costs_a_lease_once_and_serves_nothing_when_it_wakes ... ok");
    });
}

async fn child(url: &str, namespace: &str) {
    let keeper = Keeper::connect(config(url, namespace)).await;
    keeper.until_it_may_serve().await;
    for line in std::io::stdin().lines() {
        match line.expect("the parent is there").as_str() {
            "keep" => {
                keeper.until_it_may_serve().await;
                println!("{}", keeper.read(&page(7, 1)).await.as_deref().unwrap_or("nothing"));
            }
            _ => println!("{}", keeper.memory.served(&page(7, 1)).as_deref().unwrap_or("nothing")),
        }
    }
}

struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    fn start(ground: &Ground) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child", &ground.url, &ground.namespace]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from }
    }

    fn ask(&mut self, what: &str) {
        writeln!(self.to, "{what}").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        if signal == "-STOP" {
            test_support::wait_until_stopped(self.child.id());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

async fn took(store: &RedisStore) -> Duration {
    let began = Instant::now();
    assert_eq!(store.invalidate(&[page(7, 1).into_entry()]).await.unwrap(), Outcome::Applied);
    began.elapsed()
}

async fn a_frozen_process_costs_a_lease_once_and_serves_nothing_when_it_wakes() {
    let ground = Ground::shared().await;
    let lease = Duration::from_secs(1);
    let mut processes: Vec<_> = (0..4).map(|_| Process::start(&ground)).collect();
    fill(&ground.store, &page(7, 1), "old").await;
    for process in &mut processes {
        process.ask("keep");
        assert_eq!(process.answer(), "old");
    }
    tokio::time::sleep(2 * lease).await;
    for process in &mut processes {
        process.ask("keep");
        assert_eq!(process.answer(), "old", "it goes on serving");
    }
    processes[0].signal("-STOP");
    let first = took(&ground.store).await;
    assert!(first >= lease, "{first:?}: it may wake and serve until then");
    for process in &mut processes[1..] {
        process.ask("serve");
        assert_eq!(process.answer(), "nothing", "it has been told");
    }
    // A machine that stalls may make more than one of them wait, but not each.
    let mut next = Vec::new();
    while next.len() < 10 && next.last().is_none_or(|took| *took >= lease) {
        next.push(took(&ground.store).await);
    }
    assert!(next.last().is_some_and(|took| *took < lease), "{next:?}: it was expelled");
    // What it does first when it wakes, before it can hear of anything.
    processes[0].ask("serve");
    processes[0].signal("-CONT");
    assert_eq!(processes[0].answer(), "nothing");
    fill(&ground.store, &page(7, 1), "new").await;
    processes[0].ask("keep");
    assert_eq!(processes[0].answer(), "new", "it is back");
    took(&ground.store).await;
    processes[0].ask("serve");
    assert_eq!(processes[0].answer(), "nothing");
}
