//! How often does one cold key load, with 1,000 callers in each of two processes?
//!
//! The processes are children of this one, on one Redis. Both are told the key at the same time, and each starts 1,000 tasks that
//! read it. A load takes 100 ms. What is counted is how often the loader ran in both of them together.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml how_often_does_a_cold_key_load [keys]
//! ```

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    argument,
    subjects::{CachedOnRedis, CachedTracking, Hitbox, MultiTier, Ours, Place, Source, Subject},
    table,
};
use staleproof::L1;
use test_support::{shared_url, unique};

const CALLERS: usize = 1_000;
/// Of which a process is asked for the first so many.
const KEYS: u64 = 1_024;

/// What the parent calls them, and what the table does.
const CONTENDERS: [(&str, &str); 7] = [
    ("ours", "**staleproof**"),
    ("leased", "**staleproof**, `l1 = \"leased\"`"),
    ("multi-tier", "multi-tier-cache"),
    ("dogpile", "hitbox with its dogpile protection"),
    ("hitbox", "hitbox without"),
    ("cached", "cached"),
    ("tracking", "cached, client-side caching"),
];

/// A child: for each line of its standard input, which is a key, one with the number of loads.
async fn child(contender: &str, url: String, space: String) {
    let place = Place { url, space, source: Source::new(KEYS, 100_000..100_001) };
    match contender {
        "ours" => obey(&place, Ours::on_redis(&place, L1::Validated).await).await,
        "leased" => obey(&place, Ours::on_redis(&place, L1::Leased).await).await,
        "multi-tier" => obey(&place, MultiTier::new(&place).await).await,
        "dogpile" => obey(&place, Hitbox::with_dogpile_protection(&place)).await,
        "hitbox" => obey(&place, Hitbox::new(&place)).await,
        "cached" => obey(&place, CachedOnRedis::new(&place)).await,
        "tracking" => obey(&place, CachedTracking::new(&place)).await,
        other => panic!("nobody is called {other}"),
    }
}

async fn obey(place: &Place, subject: impl Subject) {
    // Some connect at their first use.
    subject.read(KEYS - 1).await;
    println!("ready");
    for line in std::io::stdin().lines() {
        let key = line.expect("the parent writes lines").parse().expect("a key");
        let before = place.source.loads();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let subject = subject.clone();
                tokio::spawn(async move { subject.read(key).await })
            })
            .collect();
        for caller in callers {
            caller.await.expect("no caller panics");
        }
        println!("{}", place.source.loads() - before);
    }
}

struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    fn start(contender: &str, space: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a program has a path"))
            .args(["how_often_does_a_cold_key_load", "child", contender, &shared_url(), space])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts itself");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        let mut process = Self { child, to, from };
        assert_eq!(process.hear(), "ready");
        process
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the child answers");
        line.trim_end().to_owned()
    }

    fn end(mut self) {
        drop(self.to);
        assert!(self.child.wait().expect("the child ends").success());
    }
}

/// The loads of each key.
fn loads(contender: &str, keys: u64) -> Vec<u64> {
    let space = unique("crowd");
    let mut processes = [(); 2].map(|()| Process::start(contender, &space));
    let crowd = |key| {
        for process in &mut processes {
            writeln!(process.to, "{key}").expect("the child listens");
        }
        processes.iter_mut().map(|process| process.hear().parse::<u64>().expect("a number")).sum()
    };
    let loads = (0..keys).map(crowd).collect();
    for process in processes {
        process.end();
    }
    loads
}

/// The program itself, or a child of it.
pub fn run() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, _, role, contender, url, space] = arguments.as_slice()
        && role == "child"
    {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        return runtime.block_on(child(contender, url.clone(), space.clone()));
    }
    let keys = argument(1, 5);
    let line = |(contender, name): (&str, &str)| {
        let mut loads = loads(contender, keys);
        loads.sort_unstable();
        let [least, most] = [loads[0], loads[loads.len() - 1]].map(table::thousands);
        vec![name.to_owned(), if least == most { most } else { format!("{least} to {most}") }]
    };
    let lines: Vec<_> = CONTENDERS.into_iter().map(line).collect();
    table::print(&table::columns([format!("loads of each of {keys} keys")]), &lines);
}
