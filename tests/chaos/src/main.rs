//! Breaks a running service over staleproof in every way it can, and looks for stale reads.
//!
//! A supervisor runs a Redis and some instances of a small service over one database. The Redis is a single server with a replica to
//! promote, and each instance behind a TCP proxy of its own; or a group with sentinels; or a cluster. While they read and write, the
//! supervisor kills, stops, cuts off, flushes, starves, rolls back, fails over and reshards what it can reach, at random from a seed. The instances only report what they did and when, by the machine's monotonic clock; the checker in
//! the supervisor judges. The program ends with 1 if a promise was broken:
//!
//! - a read was stale after an invalidation that had returned `Applied`, or beyond the stated bound in degraded mode;
//! - a caller saw an error of the cache,
//!
//! with 3 if only a bound on time was, which a busy machine can do by itself:
//!
//! - a read took more than 250 ms beyond its load and the time in which its process did not run, or a write so much beyond its body.
//!   Where copies in memory are leased, each invalidation and hold of a write may take 1.05 s more: that long it waits for an instance that
//!   does not answer;
//! - a journaled invalidation was not in force within 2 s of Redis being reachable from its instance: with several servers, of a
//!   primary being there for everything.
//!
//! and with 2 if there was no run.
//!
//! A further process, the reaper, ends everything when the supervisor ends, however that happens.

mod checker;
mod children;
mod clock;
mod fact;
mod faults;
mod instance;
mod kit;
mod reaper;
mod report;
mod servers;
mod service;
mod supervisor;
mod watch;
mod world;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

/// Breaks a running service over staleproof in every way it can, and looks for stale reads.
#[derive(Clone, Debug, Parser)]
#[command(after_help = faults::all(), after_long_help = faults::all())]
struct Options {
    /// How long to go on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What Redis consists of.
    #[arg(long, value_enum, default_value_t = Topology::Single)]
    topology: Topology,
    /// Decides on the faults; printed, so that a run can be repeated.
    #[arg(long)]
    seed: Option<u64>,
    /// Sentinels look at the servers as seldom as they do in production: an old primary remains one for some 10 s.
    #[arg(long)]
    unhurried: bool,
    /// With sentinels: how many replicas a primary has to have heard from in the last second to take writes. Without any, a primary that the
    /// others have left goes on to take them.
    #[arg(long, default_value_t = 1)]
    min_replicas: usize,
    /// How many processes of the service.
    #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    instances: usize,
    /// What carries an instance while Redis is out of its reach.
    #[arg(long, value_enum, default_value_t = Degraded::Memory)]
    degraded: Degraded,
    /// How the instances treat copies in their own memory.
    #[arg(long, value_enum, default_value_t = Copies::Leased)]
    l1: Copies,
    /// Only these kinds of faults, by the names in the table.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Breaks the cache on purpose: the run has to fail.
    #[arg(long, value_enum)]
    broken: Option<Broken>,
    /// Prints all that was done to the servers and the instances, and when.
    #[arg(long)]
    log: bool,
    /// The URL of a database server, whose table `chaos_rows` is replaced. Without it, a temporary file.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Topology {
    /// One server, and a replica to promote.
    Single,
    /// A primary, two replicas and three sentinels.
    Sentinel,
    /// Three primaries with a replica each.
    Cluster,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum Degraded {
    /// Memory, for at most [`MAX_TTL`] a value.
    Memory,
    /// The source.
    Bypass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum Copies {
    /// There are none.
    Off,
    /// Redis is asked about each.
    Validated,
    /// Served unasked, while Redis tells of all invalidations.
    Leased,
    /// Served unasked for half a second.
    Bounded,
}

/// For how long copies of the bounded mode are served.
const BOUND: Duration = Duration::from_millis(500);

/// How long an invalidation waits at most until others serve nothing any more that it has removed.
const LAPSE: Duration = Duration::from_millis(1_050);

impl Copies {
    /// How long an invalidation waits for others at most.
    fn lapse(self) -> Duration {
        if self == Self::Leased { LAPSE } else { Duration::ZERO }
    }

    /// For how long what others have invalidated may be served.
    fn bound(self) -> Duration {
        if self == Self::Bounded { BOUND } else { Duration::ZERO }
    }
}

/// The bound on staleness in degraded mode, as the instances set it.
const MAX_TTL: Duration = Duration::from_secs(2);

/// A cache that does not keep its promise, for tests of the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum Broken {
    /// Some invalidations are claimed, but not done.
    Skip,
    /// The invalidation comes before the commit.
    Early,
}

fn main() -> ExitCode {
    // The roles that the program starts itself in.
    match std::env::args().nth(1).as_deref() {
        Some(instance::ROLE) => return instance::main(),
        Some(reaper::ROLE) => return reaper::main(),
        _ => {}
    }
    let options = Options::parse();
    let names = faults::names(options.topology);
    if let Some(unknown) = options.only.iter().find(|name| !names.contains(&name.as_str())) {
        eprintln!("no fault of this topology is called {unknown:?}: there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    supervisor::run(&options)
}
