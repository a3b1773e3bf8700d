//! An instance: a process that reads and writes, and tells the supervisor what it did and when. It judges nothing.
//!
//! Its input ends with the supervisor, and so does it. `die held` and `die plain` on the input kill it by SIGKILL after the
//! commit of its next write of that kind, before the invalidation.

use std::{
    collections::HashMap,
    io::{BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use staleproof::{
    Cache, Event, L1, Outcome, Target,
    redis::{RedisConfig, RedisStore},
};
use tokio::time::sleep;

use crate::{
    BOUND, Broken, Copies, Degraded, MAX_TTL,
    clock::{Nanos, now},
    fact::{Commit, Counters, Fact, Kind, Life, Method, Read, Told, Write},
    kit,
    service::{self, CALLED, Error, ROWS, Service, TEAM},
};

pub(crate) const ROLE: &str = "__instance";

const READERS: usize = 6;
const WRITERS: usize = 3;

/// What an instance is told at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) life: Life,
    pub(crate) place: usize,
    pub(crate) redis: String,
    /// Belongs to the place, so that the next life replays what this one has left.
    pub(crate) journal: PathBuf,
    pub(crate) database: String,
    pub(crate) degraded: Degraded,
    pub(crate) l1: Copies,
    pub(crate) broken: Option<Broken>,
}

/// Tells the supervisor.
#[derive(Clone)]
pub(crate) struct Teller {
    to: Sender<Line>,
    /// The [kind](Due) of write that this process is to die in.
    due: Arc<AtomicU8>,
}

enum Line {
    Fact(Fact),
    /// Answered when everything before it is out.
    Flush(Sender<()>),
}

#[repr(u8)]
enum Due {
    Held = 1,
    Plain = 2,
}

impl Teller {
    fn start() -> Self {
        let (to, from) = channel();
        thread::spawn(move || write_out(&from));
        Self { to, due: Arc::default() }
    }

    pub(crate) fn tell(&self, fact: Fact) {
        // Nobody listens once the process ends.
        drop(self.to.send(Line::Fact(fact)));
    }

    /// Kills this process, if that is due in a write of this kind.
    pub(crate) fn die_if_due(&self, kind: Kind) {
        let due = match kind {
            Kind::HeldOrRefused => Due::Held,
            Kind::Plain => Due::Plain,
            _ => return,
        };
        if self.due.load(Ordering::Relaxed) == due as u8 {
            let (done, out) = channel();
            drop(self.to.send(Line::Flush(done)));
            // The supervisor must know of the commit.
            let _ = out.recv();
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

fn write_out(from: &Receiver<Line>) {
    let mut out = BufWriter::with_capacity(32 << 10, std::io::stdout().lock());
    loop {
        let line = match from.recv_timeout(Duration::from_millis(20)) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let written = match line {
            Some(Line::Fact(fact)) => {
                serde_json::to_writer(&mut out, &fact).map_err(Into::into).and_then(|()| out.write_all(b"\n"))
            }
            Some(Line::Flush(done)) => {
                let flushed = out.flush();
                // It waits for nothing else.
                let _ = done.send(());
                flushed
            }
            None => out.flush(),
        };
        if written.is_err() {
            std::process::exit(1);
        }
    }
}

pub(crate) fn main() -> ExitCode {
    let setup = std::env::args().nth(2).and_then(|setup| serde_json::from_str::<Setup>(&setup).ok());
    let setup = setup.expect("the supervisor knows how to start an instance");
    let teller = Teller::start();
    listen(teller.due.clone());
    watch_the_process(teller.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be built").block_on(run(setup, teller));
    ExitCode::SUCCESS
}

/// Follows the supervisor's word, and ends with it.
fn listen(due: Arc<AtomicU8>) {
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let kind = if line == "die held" { Due::Held } else { Due::Plain };
            due.store(kind as u8, Ordering::Relaxed);
        }
        std::process::exit(0);
    });
}

/// How far apart two looks at the clock are, and from how far apart they tell.
const LOOK: Duration = Duration::from_millis(4);
const TELL: Nanos = 12_000_000;

/// Tells when this process did not run: stopped, or without a processor.
fn watch_the_process(teller: Teller) {
    thread::spawn(move || {
        let mut last = now();
        loop {
            thread::sleep(LOOK);
            let at = now();
            if at - last > TELL {
                teller.tell(Fact::Stall(last, at));
            }
            last = at;
        }
    });
}

/// The same for the runtime.
async fn watch_the_runtime(teller: Teller) {
    let mut last = now();
    loop {
        sleep(LOOK).await;
        let at = now();
        if at - last > TELL {
            teller.tell(Fact::Late(last, at));
        }
        last = at;
    }
}

struct Instance {
    service: Service,
    broken: Option<Broken>,
    next: AtomicU64,
    outcomes: Mutex<HashMap<u64, Outcome>>,
}

async fn run(setup: Setup, teller: Teller) {
    let degraded = match setup.degraded {
        Degraded::Memory => staleproof::Degraded::Memory { max_ttl: MAX_TTL },
        Degraded::Bypass => staleproof::Degraded::Bypass,
    };
    let l1 = match setup.l1 {
        Copies::Off => L1::Off,
        Copies::Validated => L1::Validated,
        Copies::Leased => L1::Leased,
        Copies::Bounded => L1::For(BOUND),
    };
    let db = service::open(&setup.database).await.expect("the database is there");
    let config = RedisConfig::new(setup.redis).namespace("chaos").journal_file(setup.journal);
    let store = RedisStore::connect(config).await.expect("a Redis that is away is no error");
    let cache = Cache::builder().namespace("chaos").store(Arc::new(store)).degraded(degraded).l1(l1).build();
    let cache = cache.expect("the settings are good");
    teller.tell(Fact::Began { place: setup.place });
    let service = Service { db, cache, life: setup.life, teller };
    let instance = Arc::new(Instance {
        service,
        broken: setup.broken,
        next: AtomicU64::new(u64::from(setup.life) << 32),
        outcomes: Mutex::default(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(Arc::clone(&instance).follow_events());
    tasks.spawn(Arc::clone(&instance).count());
    tokio::spawn(Arc::clone(&instance).await_joining());
    let (cache, life) = (instance.service.cache.clone(), instance.service.life);
    tasks.spawn(kit::run(cache, life, instance.service.teller.clone()));
    tasks.spawn(watch_the_runtime(instance.service.teller.clone()));
    for _ in 0..READERS {
        tasks.spawn(Arc::clone(&instance).read());
    }
    for _ in 0..WRITERS {
        tasks.spawn(Arc::clone(&instance).write());
    }
    while let Some(ended) = tasks.join_next().await {
        let why = ended.err().map_or("it returned".to_owned(), |error| error.to_string());
        instance.service.teller.tell(Fact::Error(format!("a task ended: {why}")));
    }
}

impl Instance {
    /// Some rows are asked for more often than others.
    fn row() -> i64 {
        let most = if fastrand::bool() { ROWS } else { ROWS / 4 };
        fastrand::i64(0..most)
    }

    async fn read(self: Arc<Self>) {
        loop {
            sleep(Duration::from_micros(fastrand::u64(200..4_000))).await;
            let (row, page) = (Self::row(), fastrand::i64(0..2));
            let (begin, was_degraded) = (now(), self.service.is_degraded());
            let (method, result) = match fastrand::u8(0..4) {
                0 => (Method::Team, self.service.team(row / TEAM, page).await),
                1 => (Method::Tagged, self.service.tagged(page, row / TEAM).await),
                _ => (Method::Row, self.service.row(row).await),
            };
            let end = now();
            let degraded = was_degraded || self.service.is_degraded();
            let fact = match result {
                Ok(mut snapshot) => {
                    snapshot.padding.clear();
                    Fact::Read(Read { method, begin, end, degraded, snapshot })
                }
                Err(error) => Fact::Error(format!("{method:?}: {error}")),
            };
            self.service.teller.tell(fact);
        }
    }

    async fn write(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(fastrand::u64(5..60))).await;
            let begin = now();
            let fact = match CALLED.scope(begin, self.write_once(Self::row(), begin)).await {
                Ok(write) => {
                    if write.outcome == Told::Journaled {
                        tokio::spawn(Arc::clone(&self).await_replay(write.commit.clone()));
                    }
                    Fact::Write(write)
                }
                Err(Error::Refused(_)) => Fact::Refused,
                Err(error) => Fact::Error(format!("a write: {error}")),
            };
            self.service.teller.tell(fact);
        }
    }

    async fn write_once(&self, row: i64, begin: Nanos) -> Result<Write, Error> {
        let nonce = self.next.fetch_add(1, Ordering::Relaxed);
        let service = &self.service;
        let known = |(commit, outcome): (Commit, Outcome)| (commit, Some(told(outcome)));
        let (commit, outcome) = match (self.broken, fastrand::u8(0..16)) {
            (Some(Broken::Skip), 0) => (service.write_without_invalidating(row).await?, Some(Told::Applied)),
            (Some(Broken::Early), 0..8) => known(service.write_after_invalidating(row).await?),
            (_, 0..3) => known(service.write_by_hand(row).await?),
            (_, 3..6) => (service.write_held(row, nonce).await?, None),
            (_, 6..9) => (service.write_held_or_refuse(row, nonce).await?, None),
            (_, 9) => (service.write_with_glob(row, nonce).await?, None),
            _ => (service.write(row, nonce).await?, None),
        };
        let end = now();
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => self.outcome_of(nonce).await,
        };
        Ok(Write { commit, begin, end, outcome })
    }

    /// What the attribute's invalidation achieved, which only the event tells.
    async fn outcome_of(&self, nonce: u64) -> Told {
        for _ in 0..50 {
            let found = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).remove(&nonce);
            if let Some(outcome) = found {
                return told(outcome);
            }
            sleep(Duration::from_millis(2)).await;
        }
        Told::Unknown
    }

    async fn follow_events(self: Arc<Self>) {
        let mut events = self.service.cache.events();
        while let Some(event) = events.next().await {
            match event {
                Event::Invalidated { targets, outcome } => {
                    if let Some(nonce) = targets.iter().find_map(nonce_of) {
                        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(nonce, outcome);
                    }
                }
                Event::Degraded => self.service.teller.tell(Fact::Link { up: false, at: now() }),
                Event::Recovered { .. } => self.service.teller.tell(Fact::Link { up: true, at: now() }),
                _ => {}
            }
        }
    }

    async fn await_joining(self: Arc<Self>) {
        self.await_link().await;
        self.service.teller.tell(Fact::Joined { at: now() });
    }

    /// The link is up only when nothing is left to replay.
    async fn await_replay(self: Arc<Self>, commit: Commit) {
        self.await_link().await;
        self.service.teller.tell(Fact::InForce { row: commit.row, version: commit.version, at: now() });
    }

    async fn await_link(&self) {
        while self.service.is_degraded() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn count(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(200)).await;
            let stats = self.service.cache.stats();
            let total = stats.total;
            self.service.teller.tell(Fact::Counters(Counters {
                hits: total.hits,
                l1_hits: total.l1_hits,
                misses: total.misses,
                loads: total.loads,
                joined: total.joined,
                fills: total.fills,
                refused: total.refused,
                held: total.held,
                degraded: total.degraded,
                store_errors: total.store_errors,
                applied: stats.invalidations_applied,
                journaled: stats.invalidations_journaled,
            }));
        }
    }
}

fn told(outcome: Outcome) -> Told {
    match outcome {
        Outcome::Applied => Told::Applied,
        Outcome::Journaled => Told::Journaled,
    }
}

fn nonce_of(target: &Target) -> Option<u64> {
    match target {
        Target::Tag(tag) => tag.as_str().strip_prefix("write:")?.parse().ok(),
        _ => None,
    }
}
