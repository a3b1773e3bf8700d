//! The faults: each begins, lasts for a while, and is undone. Which, when and for how long comes from the seed.
//!
//! Faults of different things overlap; of one thing (an instance, a link, a server) there is one at a time.

mod cluster;
mod servers;

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use test_support::Migration;

use crate::{
    Topology,
    checker::Book,
    clock::{Nanos, nanos, now},
    world::{LinkState, World},
};

/// The kinds of faults that there are everywhere, as the table calls them.
const EVERYWHERE: [&str; 9] =
    ["kill", "kill-held", "kill-unheld", "stop", "redis-kill", "redis-stop", "flush", "evict", "old-dump"];

/// All kinds of faults of a topology.
pub(crate) fn names(topology: Topology) -> Vec<&'static str> {
    let more: &[_] = match topology {
        Topology::Single => &["cut", "freeze", "delay", "full", "promote", "demote"],
        Topology::Sentinel => &["full", "failover", "sentinel-kill", "sentinel-stop"],
        Topology::Cluster => &["failover", "migrate"],
    };
    [&EVERYWHERE[..], more].concat()
}

/// What `--help` says of faults, and of how a run ends.
pub(crate) fn all() -> String {
    let of = |topology| names(topology).join(", ");
    format!(
        "Faults:\n  single    {}\n  sentinel  {}\n  cluster   {}\n\n\
         Exit code: 0 if every promise held, 1 if one was broken, 3 if only a bound on time was, 2 if there was no run",
        of(Topology::Single),
        of(Topology::Sentinel),
        of(Topology::Cluster)
    )
}

/// What ends a fault, or is its next step.
#[derive(Clone, Copy)]
enum Undo {
    StartInstance(usize),
    Continue(usize),
    Link(usize),
    StartServer(usize),
    ContinueServer(usize),
    Memory(usize),
    /// Kills a server that has saved itself a while ago.
    KillForDump(usize),
    StartSentinel(usize),
    ContinueSentinel(usize),
    /// Moves the rest of a slot.
    Migrate(Migration),
}

impl Undo {
    /// The server that it belongs to.
    fn server(self) -> Option<usize> {
        match self {
            Self::StartServer(server)
            | Self::ContinueServer(server)
            | Self::Memory(server)
            | Self::KillForDump(server) => Some(server),
            _ => None,
        }
    }
}

struct Active {
    name: &'static str,
    since: Nanos,
    until: Nanos,
    undo: Undo,
}

/// All faults of a run.
pub(crate) struct Faults {
    rng: Rng,
    topology: Topology,
    names: Vec<&'static str>,
    active: Vec<Active>,
    next: Nanos,
    pub(crate) count: BTreeMap<&'static str, u64>,
    /// When what happened.
    pub(crate) log: Vec<(Nanos, String)>,
    pub(crate) evicted: u64,
    /// Replicas that have become primaries by themselves.
    pub(crate) promoted: u64,
    /// The longest time in which some could already be sent to a new primary and others still to the old one.
    pub(crate) longest_handover: Nanos,
    pub(crate) unexpected: Vec<String>,
}

impl Faults {
    pub(crate) fn new(seed: u64, topology: Topology, only: &[String]) -> Self {
        let is_wanted = |name: &&str| only.is_empty() || only.iter().any(|only| only == name);
        let names = names(topology).into_iter().filter(is_wanted).collect();
        Self {
            rng: Rng::with_seed(seed),
            topology,
            names,
            active: Vec::new(),
            next: now() + 500_000_000,
            count: BTreeMap::new(),
            log: Vec::new(),
            evicted: 0,
            promoted: 0,
            longest_handover: 0,
            unexpected: Vec::new(),
        }
    }

    /// What is broken now.
    pub(crate) fn names(&self) -> String {
        self.active.iter().map(|active| active.name).collect::<Vec<_>>().join(" ")
    }

    /// Ends what is due, and begins something new if it is time.
    pub(crate) fn turn(&mut self, world: &mut World, book: &mut Book) {
        self.watch_over(world, book);
        while let Some(due) = self.active.iter().position(|active| active.until <= now()) {
            let active = self.active.swap_remove(due);
            self.undo(&active, world, book);
        }
        if now() >= self.next {
            self.next = now() + self.rng.u64(50_000_000..900_000_000);
            let name = self.names[self.rng.usize(0..self.names.len())];
            self.begin(name, world, book);
        }
    }

    /// Ends all of them, and begins no more.
    pub(crate) fn heal(&mut self, world: &mut World, book: &mut Book) {
        // A slot can be moved once the servers are back.
        self.active.sort_by_key(|active| !matches!(active.undo, Undo::Migrate(_)));
        let latest = now() + nanos(Duration::from_secs(20));
        while let Some(active) = self.active.pop() {
            let is_over = now() > latest;
            self.undo(&active, world, book);
            if is_over && matches!(active.undo, Undo::Migrate(_)) {
                self.unexpected.push("a slot could not be moved any more".to_owned());
                break;
            }
        }
        self.bury(world);
    }

    /// Notes what happens by itself.
    pub(crate) fn watch_over(&mut self, world: &mut World, book: &mut Book) {
        self.bury(world);
        self.note_changes(world, book);
    }

    /// Instances that have ended: because they were told to, or else something is wrong.
    fn bury(&mut self, world: &mut World) {
        for place in 0..world.places.len() {
            let Some(instance) = &mut world.places[place].instance else { continue };
            let Some(status) = instance.ended() else { continue };
            let (life, is_doomed) = (instance.life, instance.is_doomed);
            world.bury(place);
            self.log.push((now(), format!("life {life} has ended: {status}")));
            if !is_doomed {
                self.unexpected.push(format!("life {life} ended by itself: {status}"));
            }
            self.last("restart", 100..800, Undo::StartInstance(place));
        }
    }

    fn begin(&mut self, name: &'static str, world: &mut World, book: &mut Book) {
        let place = self.rng.usize(0..world.places.len());
        let begun = match name {
            "kill" | "kill-held" | "kill-unheld" | "stop" => self.break_instance(name, place, world),
            "cut" | "freeze" | "delay" => self.break_link(name, place, world),
            "migrate" => self.migrate(world),
            "sentinel-kill" | "sentinel-stop" => self.break_sentinel(name, world),
            _ => self.break_server(name, world, book),
        };
        if begun {
            *self.count.entry(name).or_default() += 1;
        }
    }

    fn break_instance(&mut self, name: &'static str, place: usize, world: &mut World) -> bool {
        let is_busy = world.places[place].is_stopped;
        let Some(instance) = world.places[place].instance.as_mut().filter(|instance| !instance.is_doomed && !is_busy)
        else {
            return false;
        };
        self.log.push((now(), format!("{name}: life {}", instance.life)));
        match name {
            "kill" => {
                world.kill_instance(place);
                self.last(name, 50..1_000, Undo::StartInstance(place));
            }
            "stop" => {
                world.stop_instance(place);
                self.last(name, 50..1_200, Undo::Continue(place));
            }
            _ => instance.doom(&name["kill-".len()..].replace("unheld", "plain")),
        }
        true
    }

    fn break_link(&mut self, name: &'static str, place: usize, world: &mut World) -> bool {
        if world.places[place].link != LinkState::Good {
            return false;
        }
        let link = match name {
            "cut" => LinkState::Cut,
            "freeze" => LinkState::Frozen,
            _ => LinkState::Delayed(Duration::from_millis(self.rng.u64(2..120))),
        };
        self.log.push((now(), format!("{name}: link {place} is {link:?}")));
        world.set_link(place, link);
        self.last(name, 30..2_500, Undo::Link(place));
        true
    }

    fn last(&mut self, name: &'static str, millis: std::ops::Range<u64>, undo: Undo) {
        let lasts = Duration::from_millis(self.rng.u64(millis));
        let since = now();
        self.active.push(Active { name, since, until: since + nanos(lasts), undo });
    }

    fn undo(&mut self, active: &Active, world: &mut World, book: &mut Book) {
        match active.undo {
            Undo::StartInstance(place) => world.start_instance(place),
            Undo::Continue(place) => world.continue_instance(place),
            Undo::Link(place) => world.set_link(place, LinkState::Good),
            Undo::StartServer(server) => {
                world.start_server(server);
                self.forget_migrations(world);
                book.lost(active.since, now());
            }
            Undo::ContinueServer(server) => {
                world.continue_server(server);
                self.forget_migrations(world);
            }
            Undo::Memory(server) => {
                self.end_shortage(server, world);
                book.lost(active.since, now());
            }
            Undo::KillForDump(server) => {
                world.kill_server(server);
                self.last(active.name, 10..500, Undo::StartServer(server));
                // What was done since the dump is lost.
                if let Some(restart) = self.active.last_mut() {
                    restart.since = active.since;
                }
            }
            Undo::StartSentinel(sentinel) => world.start_sentinel(sentinel),
            Undo::ContinueSentinel(sentinel) => world.servers.sentinels()[sentinel].cont(),
            Undo::Migrate(migration) => self.migrate_on(migration, world),
        }
        self.log.push((now(), format!("{} ends", active.name)));
    }
}
