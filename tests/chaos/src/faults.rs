//! The faults: each begins, lasts for a while, and is undone. Which, when and for how long comes from the seed.
//!
//! Faults of different things overlap; of one thing (an instance, a link, the server) there is one at a time.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;

use crate::{
    checker::{Book, GRACE},
    clock::{Nanos, nanos, now},
    world::{LinkState, World},
};

/// The kinds of faults, as the table calls them.
pub(crate) const NAMES: [&str; 15] = [
    "kill",
    "kill-held",
    "kill-unheld",
    "stop",
    "cut",
    "freeze",
    "delay",
    "redis-kill",
    "redis-stop",
    "flush",
    "evict",
    "full",
    "old-dump",
    "promote",
    "demote",
];

/// What ends a fault, or is its next step.
enum Undo {
    StartInstance(usize),
    Continue(usize),
    Link(usize),
    StartRedis,
    ContinueRedis,
    Memory,
    /// Kills a Redis that has saved itself a while ago.
    KillForDump,
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
    names: Vec<&'static str>,
    active: Vec<Active>,
    next: Nanos,
    pub(crate) count: BTreeMap<&'static str, u64>,
    /// When what happened.
    pub(crate) log: Vec<(Nanos, String)>,
    pub(crate) evicted: u64,
    pub(crate) unexpected: Vec<String>,
}

impl Faults {
    pub(crate) fn new(seed: u64, only: &[String]) -> Self {
        let names = NAMES.into_iter().filter(|name| only.is_empty() || only.iter().any(|only| only == name)).collect();
        Self {
            rng: Rng::with_seed(seed),
            names,
            active: Vec::new(),
            next: now() + 500_000_000,
            count: BTreeMap::new(),
            log: Vec::new(),
            evicted: 0,
            unexpected: Vec::new(),
        }
    }

    /// What is broken now.
    pub(crate) fn names(&self) -> String {
        self.active.iter().map(|active| active.name).collect::<Vec<_>>().join(" ")
    }

    /// Ends what is due, and begins something new if it is time.
    pub(crate) fn turn(&mut self, world: &mut World, book: &mut Book) {
        self.bury(world);
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
        while let Some(active) = self.active.pop() {
            self.undo(&active, world, book);
        }
        self.bury(world);
    }

    /// Instances that have ended: because they were told to, or else something is wrong.
    pub(crate) fn bury(&mut self, world: &mut World) {
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
            _ => self.break_redis(name, world, book),
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

    fn break_redis(&mut self, name: &'static str, world: &mut World, book: &mut Book) -> bool {
        let is_busy =
            |undo: &Undo| matches!(undo, Undo::StartRedis | Undo::ContinueRedis | Undo::Memory | Undo::KillForDump);
        if self.active.iter().any(|active| is_busy(&active.undo)) || (name.ends_with("mote") && !world.has_replica()) {
            return false;
        }
        self.log.push((now(), format!("{name} begins")));
        let from = now();
        match name {
            "redis-kill" => {
                world.kill_redis();
                world.primary.remove_dump();
                self.last(name, 20..2_000, Undo::StartRedis);
            }
            "redis-stop" => {
                world.redis_goes();
                world.primary.stop();
                self.last(name, 20..2_000, Undo::ContinueRedis);
            }
            "flush" => {
                world.redis(&["FLUSHALL"]);
                book.lost(from, now());
            }
            "evict" => {
                let room = memory(world) - self.rng.u64(0..80_000);
                limit_memory(world, "allkeys-lru", &room.to_string());
                self.last(name, 500..3_000, Undo::Memory);
            }
            "full" => {
                world.redis_goes();
                let policy = if self.rng.bool() { "allkeys-lru" } else { "noeviction" };
                limit_memory(world, policy, "1mb");
                self.last(name, 100..1_500, Undo::Memory);
            }
            "old-dump" => {
                if !world.primary.save() {
                    return false;
                }
                self.last(name, 300..3_000, Undo::KillForDump);
            }
            "demote" => {
                world.demote(|| self.rng.bool());
                book.demoted(from);
                book.lost(from - 1_000_000_000, now() + GRACE);
            }
            _ => {
                world.promote(self.rng.bool());
                // What the old primary had taken last may not have reached the replica.
                book.lost(from - 1_000_000_000, now());
            }
        }
        self.log.push((now(), format!("{name} has begun")));
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
            Undo::StartRedis => {
                world.start_redis();
                book.lost(active.since, now());
            }
            Undo::ContinueRedis => {
                world.primary.cont();
                world.redis_is_good = true;
            }
            Undo::Memory => {
                self.evicted += evicted(world);
                world.redis(&["CONFIG", "SET", "maxmemory", "0"]);
                world.redis_is_good = true;
                book.lost(active.since, now());
            }
            Undo::KillForDump => {
                world.kill_redis();
                self.last(active.name, 10..500, Undo::StartRedis);
                // What was done since the dump is lost.
                if let Some(restart) = self.active.last_mut() {
                    restart.since = active.since;
                }
            }
        }
        self.log.push((now(), format!("{} ends", active.name)));
    }
}

fn limit_memory(world: &World, policy: &str, limit: &str) {
    world.redis(&["CONFIG", "SET", "maxmemory-policy", policy]);
    world.redis(&["CONFIG", "SET", "maxmemory", limit]);
}

fn memory(world: &World) -> u64 {
    number(&world.redis(&["INFO", "memory"]), "used_memory:")
}

/// How much was evicted since this was last asked.
fn evicted(world: &World) -> u64 {
    let evicted = number(&world.redis(&["INFO", "stats"]), "evicted_keys:");
    world.redis(&["CONFIG", "RESETSTAT"]);
    evicted
}

fn number(info: &str, field: &str) -> u64 {
    info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok()).unwrap_or(0)
}
