//! Searches for stale reads by schedules that follow from a seed.
//!
//! Real caches over real stores run in one thread, on a clock that stands still between two steps. Whatever they wait for is
//! a step of the schedule: a request that the server executes, a reply that arrives, a load of the source. The schedule
//! picks the next step at random, breaks something now and then, and a checker that knows every write and every returned
//! invalidation looks at every value that is served. The same seed gives the same run, so that a failure can be watched.

mod actor;
mod check;
mod mutants;
mod network;
mod resp;
mod schedule;
mod server;
mod stepped;
mod world;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use cache_core::L1;
pub use check::Failure;
pub use mutants::{MISTAKES, Mistake};
use schedule::Schedule;
use server::Server;

/// Over which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Several instances over one real Redis.
    Redis,
    /// One instance over memory.
    Memory,
}

/// Copies that are served unasked for so long, of the simulation's time.
pub const BOUNDED: L1 = L1::For(Duration::from_millis(300));

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What everything follows from.
    pub seed: u64,
    /// How many steps.
    pub steps: u64,
    /// Ends the run early.
    pub until: Option<Instant>,
    /// Over which store.
    pub backend: Backend,
    /// How copies in the instances' memory are treated, over Redis.
    pub l1: L1,
    /// What is wrong on purpose.
    pub mistake: Option<Mistake>,
    /// Keeps a line for everything that happens.
    pub trace: bool,
    /// Lets Redis itself walk over its keys. Its order differs from process to process: such a run cannot be repeated.
    pub real_scan: bool,
}

impl Settings {
    /// A run of this seed, with nothing wrong. The mode of copies follows from the seed.
    pub fn new(backend: Backend, seed: u64, steps: u64) -> Self {
        let l1 = [L1::Off, L1::Validated, L1::Leased, BOUNDED][usize::try_from(seed % 4).unwrap_or_default()];
        Self { seed, steps, until: None, backend, l1, mistake: None, trace: false, real_scan: false }
    }

    /// The same with this wrong, in the mode in which it shows.
    #[must_use]
    pub fn with_mistake(self, mistake: &Mistake) -> Self {
        Self { l1: mistake.l1.unwrap_or(self.l1), mistake: Some(mistake.clone()), ..self }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How copies were treated, if there were any.
    pub l1: Option<L1>,
    /// How many steps were taken.
    pub steps: u64,
    /// How long that took.
    pub took: Duration,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// The promise that was broken.
    pub failure: Option<Failure>,
    /// What happened, line by line, if it was asked for.
    pub trace: Vec<String>,
}

impl Report {
    /// How often this happened.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.steps as f64 / seconds;
        write!(f, "seed {}", self.seed)?;
        if let Some(l1) = self.l1 {
            let mode = if l1 == BOUNDED { "bounded".to_owned() } else { format!("{l1:?}").to_lowercase() };
            write!(f, " --l1 {mode}")?;
        }
        write!(f, ": {} steps in {seconds:.1} s ({rate:.0}/s), ", self.steps)?;
        match &self.failure {
            None => write!(f, "nothing stale"),
            Some(failure) => write!(f, "FAILED: {}", failure.what),
        }
    }
}

/// Runs simulations, one after the other.
pub struct Simulator {
    server: Option<Server>,
}

impl Simulator {
    /// With a Redis of its own if one is needed. `None` where there is no `redis-server`.
    pub fn new(backend: Backend) -> Option<Self> {
        let server = match backend {
            Backend::Redis => Some(Server::start()?),
            Backend::Memory => None,
        };
        Some(Self { server })
    }

    /// Runs one simulation.
    pub fn run(&mut self, settings: &Settings) -> Report {
        let began = Instant::now();
        let server = match settings.backend {
            Backend::Redis => self.server.as_mut(),
            Backend::Memory => None,
        };
        fastrand::seed(settings.seed);
        cache_core::mutant::choose(settings.mistake.as_ref().and_then(|mistake| mistake.switch));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without input and output needs nothing");
        let mut report = runtime.block_on(async { Schedule::new(settings, server).run().await });
        drop(runtime);
        cache_core::mutant::choose(None);
        report.took = began.elapsed();
        report
    }

    /// Runs it again with a trace: what led to the failure, as far as it concerns that key.
    pub fn explain(&mut self, settings: &Settings, failed: &Report) -> Vec<String> {
        let settings = Settings { trace: true, steps: failed.steps + 1, until: None, ..settings.clone() };
        self.run(&settings).trace
    }
}
