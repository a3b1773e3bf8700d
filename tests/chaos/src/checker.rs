//! The judge: knows every write and every return of an invalidation, and finds the reads that broke a promise.
//!
//! Which promise holds for a read:
//!
//! - Against writes of *its own* instance, always: `Applied` or `Journaled`, the old value is gone there once the write has returned.
//! - Against writes of *other* instances, once the invalidation had returned `Applied` when the read began, or, journaled, had been
//!   replayed by then: nothing stale while Redis is in reach of the reader. Out of reach, `Degraded::Bypass` promises the same, and
//!   `Degraded::Memory { max_ttl }` that the value was loaded at most `max_ttl` ago.
//! - Against a writer killed between its commit and its invalidation: nothing without a hold (the bound is the TTL). With one, nothing stale
//!   from the commit on, provided that the hold was there (the method refuses to write otherwise) and that Redis lost nothing between the
//!   call, which takes the hold and may wait for others then, and the commit.
//!
//! What was replayed is in force in the replaying instance at once. Where copies are leased, that of another instance is gone 1.05 s
//! later at most: a replay tells the others and does not wait for them.
//!
//! - After a primary was demoted or replaced whose connections stay open, it still answers: nothing stale later than [`GRACE`], by when the
//!   heartbeat has found out. Old values before that are counted. Servers that fail over by themselves may be heard of later: old values up
//!   to [`HEARSAY`] after that are late, and told with their histories like stale ones.
//!
//! Times are those of the machine's monotonic clock, taken before a read begins and after an invalidation has returned. A fact that
//! a killed process could not tell any more makes the judgement milder, never wrong.

mod history;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use crate::{
    Copies, Degraded, MAX_TTL, Topology,
    clock::{Nanos, nanos, overlap},
    fact::{Commit, Fact, Kind, Life, Read, Told, Write},
    service::{HOLD, ROWS},
};

/// The most that a call may take beyond its load, or its body and what it waits for others.
pub(crate) const SLOW: Nanos = 250_000_000;

/// Invalidations that a write of this kind makes, or holds that it takes, at most.
fn waits(kind: Kind) -> u64 {
    if matches!(kind, Kind::Held | Kind::HeldOrRefused) { 2 } else { 1 }
}

/// A value's age in degraded mode is measured from its load's begin, and to the read's; in between lie a load and a fill.
const SLACK: Nanos = 200_000_000;

/// Within this an instance has noticed that its server is no primary any more.
pub(crate) const GRACE: Nanos = 1_000_000_000;

/// Within this an instance has noticed that others are sent to another server, whatever became of those who know.
pub(crate) const HEARSAY: Nanos = 3_000_000_000;

/// Versions and when no read may be older than they are any more, by time.
#[derive(Debug, Default, Clone)]
struct Floor(Vec<Step>);

#[derive(Debug, Clone, Copy)]
struct Step {
    at: Nanos,
    version: i64,
    /// The highest version up to here.
    highest: i64,
}

impl Floor {
    fn add(&mut self, at: Nanos, version: i64) {
        let place = self.0.partition_point(|step| step.at <= at);
        self.0.insert(place, Step { at, version, highest: version });
        let mut highest = place.checked_sub(1).map_or(0, |before| self.0[before].highest);
        for step in &mut self.0[place..] {
            highest = highest.max(step.version);
            step.highest = highest;
        }
    }

    /// The oldest version that a read that begins at `at` may return.
    fn at(&self, at: Nanos) -> i64 {
        let place = self.0.partition_point(|step| step.at < at);
        place.checked_sub(1).map_or(0, |before| self.0[before].highest)
    }
}

/// A read that broke a promise.
#[derive(Clone, Debug)]
pub(crate) struct Stale {
    pub(crate) life: Life,
    pub(crate) read: Read,
    pub(crate) row: i64,
    pub(crate) version: i64,
    pub(crate) expected: i64,
    pub(crate) why: &'static str,
}

/// What a read came to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Stale within the bound of degraded mode, by this long.
    pub(crate) bounded: Option<Nanos>,
    /// Stale on a server that had just been demoted, this long after.
    pub(crate) demoted: Option<Nanos>,
    /// The same, and late.
    pub(crate) late: Option<Box<Stale>>,
}

/// What all reads came to.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) stale: Vec<Stale>,
    pub(crate) bounded: Vec<Nanos>,
    pub(crate) demoted: Vec<Nanos>,
    pub(crate) late: Vec<Stale>,
}

/// A call that took long beyond its load.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    pub(crate) life: Life,
    pub(crate) what: String,
    pub(crate) span: (Nanos, Nanos),
    pub(crate) beyond: Nanos,
    /// The most that it may be.
    pub(crate) bound: Nanos,
}

impl Slow {
    pub(crate) fn is_late(&self) -> bool {
        self.beyond > self.bound
    }
}

/// Everything that was told.
pub(crate) struct Book {
    degraded: Degraded,
    /// The servers do so by themselves.
    fails_over: bool,
    /// How long an invalidation waits for others at most, and a replay is not in force everywhere.
    lapse: Nanos,
    /// For how long copies may be served that others have invalidated.
    bound: Nanos,
    pub(crate) reads: Vec<(Life, Read)>,
    pub(crate) writes: Vec<(Life, Write)>,
    commits: HashMap<(i64, i64), (Life, Commit)>,
    returned: HashMap<(i64, i64), Told>,
    pub(crate) in_force: Vec<(Life, i64, i64, Nanos)>,
    stalls: HashMap<Life, Vec<(Nanos, Nanos)>>,
    lates: Vec<(Life, Nanos, Nanos)>,
    pub(crate) links: Vec<(Life, bool, Nanos)>,
    /// When Redis may have lost something.
    losses: Vec<(Nanos, Nanos)>,
    /// From when to when another server may have taken a primary's place.
    demotions: Vec<(Nanos, Nanos)>,
    places: HashMap<Life, usize>,
    joined: Vec<(Life, Nanos)>,
    pub(crate) inherited: u64,
    everywhere: Vec<Floor>,
    own: HashMap<(Life, i64), Floor>,
    pub(crate) refused: u64,
    pub(crate) killed_held: u64,
    pub(crate) killed_unheld: u64,
}

impl Book {
    pub(crate) fn new(degraded: Degraded, topology: Topology, l1: Copies) -> Self {
        let rows = usize::try_from(ROWS).expect("there are few rows");
        Self {
            degraded,
            fails_over: topology != Topology::Single,
            lapse: nanos(l1.lapse()),
            bound: nanos(l1.bound()),
            reads: Vec::new(),
            writes: Vec::new(),
            commits: HashMap::new(),
            returned: HashMap::new(),
            in_force: Vec::new(),
            stalls: HashMap::new(),
            lates: Vec::new(),
            links: Vec::new(),
            losses: Vec::new(),
            demotions: Vec::new(),
            places: HashMap::new(),
            joined: Vec::new(),
            inherited: 0,
            everywhere: vec![Floor::default(); rows],
            own: HashMap::new(),
            refused: 0,
            killed_held: 0,
            killed_unheld: 0,
        }
    }

    /// Redis may have lost anything in this time.
    pub(crate) fn lost(&mut self, from: Nanos, to: Nanos) {
        self.losses.push((from, to));
    }

    /// A primary was demoted or replaced in this time, and some connections to it are still open.
    pub(crate) fn demoted(&mut self, from: Nanos, at: Nanos) {
        self.demotions.push((from, at));
    }

    /// Notes a fact. A read is judged by what is known so far; [`Book::judge_all`] judges it again.
    pub(crate) fn note(&mut self, life: Life, fact: Fact) -> Option<Box<Stale>> {
        match fact {
            Fact::Read(read) => {
                let stale = self.judge(life, &read).err();
                self.reads.push((life, read));
                return stale;
            }
            Fact::Commit(commit) => drop(self.commits.insert((commit.row, commit.version), (life, commit))),
            Fact::Write(write) => {
                let Commit { row, version, .. } = write.commit;
                self.returned.insert((row, version), write.outcome);
                self.own.entry((life, row)).or_default().add(write.end, version);
                if write.outcome == Told::Applied {
                    self.floor(row).add(write.end, version);
                }
                self.writes.push((life, write));
            }
            Fact::InForce { row, version, at } => {
                self.replayed(life, row, version, at);
                self.in_force.push((life, row, version, at));
            }
            Fact::Began { place } => _ = self.places.insert(life, place),
            Fact::Joined { at } => self.joined.push((life, at)),
            Fact::Stall(from, to) => self.stalls.entry(life).or_default().push((from, to)),
            Fact::Late(from, to) => self.lates.push((life, from, to)),
            Fact::Link { up, at } => self.links.push((life, up, at)),
            Fact::Refused => self.refused += 1,
            Fact::Counters(_) | Fact::Error(_) | Fact::Kit(_) => {}
        }
        None
    }

    fn replayed(&mut self, life: Life, row: i64, version: i64, at: Nanos) {
        self.own.entry((life, row)).or_default().add(at, version);
        let lapse = self.lapse;
        self.floor(row).add(at + lapse, version);
    }

    fn floor(&mut self, row: i64) -> &mut Floor {
        &mut self.everywhere[usize::try_from(row).expect("a row's number")]
    }

    /// Looks for writers that died between their commit and their invalidation. Once, when all is told.
    pub(crate) fn find_killed_writers(&mut self, has_ended: impl Fn(Life) -> bool) {
        let unreturned =
            self.commits.iter().filter(|(place, (life, _))| !self.returned.contains_key(*place) && has_ended(*life));
        let unreturned: Vec<Commit> = unreturned.map(|(_, (_, commit))| commit.clone()).collect();
        for commit in unreturned {
            let held = commit.kind == Kind::HeldOrRefused
                && commit.at - commit.called < nanos(HOLD) * 3 / 4
                && !self.losses.iter().any(|loss| loss.0 <= commit.at && loss.1 >= commit.called);
            if held {
                self.killed_held += 1;
                self.floor(commit.row).add(commit.at, commit.version);
            } else {
                self.killed_unheld += 1;
            }
        }
    }

    /// What a killed instance had journaled is in force when the next one in its place, and so on its file, has joined Redis. Once,
    /// when all is told.
    pub(crate) fn find_inherited(&mut self) {
        let replayed: HashSet<_> = self.in_force.iter().map(|&(life, row, version, _)| (life, row, version)).collect();
        let mut inherited = Vec::new();
        for (life, write) in self.writes.iter().filter(|(_, write)| write.outcome == Told::Journaled) {
            let (row, version) = (write.commit.row, write.commit.version);
            let place = self.places.get(life);
            let heirs = self.joined.iter().filter(|(heir, _)| heir > life && self.places.get(heir) == place);
            if !replayed.contains(&(*life, row, version))
                && place.is_some()
                && let Some((heir, at)) = heirs.min_by_key(|(_, at)| *at)
            {
                inherited.push((*heir, row, version, *at));
            }
        }
        for (heir, row, version, at) in inherited {
            self.inherited += 1;
            self.replayed(heir, row, version, at);
        }
    }

    /// Judges all reads by all that is known.
    pub(crate) fn judge_all(&self) -> Judgement {
        let mut all = Judgement::default();
        for (life, read) in &self.reads {
            match self.judge(*life, read) {
                Ok(verdict) => {
                    all.bounded.extend(verdict.bounded);
                    all.demoted.extend(verdict.demoted);
                    all.late.extend(verdict.late.map(|late| *late));
                }
                Err(found) => all.stale.push(*found),
            }
        }
        all
    }

    fn judge(&self, life: Life, read: &Read) -> Result<Verdict, Box<Stale>> {
        let mut verdict = Verdict::default();
        for &(row, version) in &read.snapshot.rows {
            let broken = |expected, why| Box::new(Stale { life, read: read.clone(), row, version, expected, why });
            let own = self.own.get(&(life, row)).map_or(0, |floor| floor.at(read.begin));
            if version < own {
                return Err(broken(own, "older than a write of the same instance that had returned"));
            }
            let place = usize::try_from(row).expect("a row's number");
            let expected = self.everywhere[place].at(read.begin.saturating_sub(self.bound));
            if version >= expected {
                continue;
            }
            // What memory serves in an outage, this very process has loaded; anything else comes from Redis.
            if !read.degraded || read.snapshot.life != life {
                if let Some(after) = self.since_demotion(life, read.begin, GRACE) {
                    verdict.demoted = verdict.demoted.max(Some(after));
                    continue;
                }
                if self.fails_over && self.since_demotion(life, read.begin, HEARSAY).is_some() {
                    verdict.late = Some(broken(expected, "not long after others were sent to another server"));
                    continue;
                }
                return Err(broken(expected, "with Redis in reach"));
            }
            if self.degraded == Degraded::Bypass {
                return Err(broken(expected, "in degraded mode, which goes to the source here"));
            }
            let age = read.begin.saturating_sub(read.snapshot.begin);
            if age > nanos(MAX_TTL) + SLACK + self.stalled(life, (read.snapshot.begin, read.begin)) {
                return Err(broken(expected, "in degraded mode, and loaded longer ago than its bound"));
            }
            verdict.bounded = verdict.bounded.max(Some(age));
        }
        Ok(verdict)
    }

    /// How long ago the primary was demoted, if the reader need not have noticed.
    fn since_demotion(&self, life: Life, at: Nanos, grace: Nanos) -> Option<Nanos> {
        let since = |&(from, done): &(Nanos, Nanos)| (from <= at).then(|| at.saturating_sub(done));
        let since = self.demotions.iter().filter_map(since).min()?;
        (since < grace + self.stalled(life, (at - since, at))).then_some(since)
    }

    /// For how much of this time the process did not run.
    pub(crate) fn stalled(&self, life: Life, span: (Nanos, Nanos)) -> Nanos {
        let stalls = self.stalls.get(&life).map_or(&[][..], Vec::as_slice);
        stalls.iter().map(|&stall| overlap(span, stall)).sum()
    }

    /// The longest time in which a runtime did not turn although its process ran.
    pub(crate) fn latest_runtime(&self) -> Nanos {
        let late =
            |&(life, from, to): &(Life, Nanos, Nanos)| (to - from).saturating_sub(self.stalled(life, (from, to)));
        self.lates.iter().map(late).max().unwrap_or(0)
    }

    /// The reads that took longest beyond their loads, worst first.
    pub(crate) fn slowest_reads(&self) -> Vec<Slow> {
        worst_first(self.reads.iter().filter_map(|(life, read)| {
            let load = (read.snapshot.begin, read.snapshot.end);
            let what = || format!("{:?} {:?}, degraded: {}", read.method, read.snapshot.rows, read.degraded);
            self.slow(*life, (read.begin, read.end), load, SLOW, what)
        }))
    }

    /// The writes that took longest beyond their bodies, worst first.
    pub(crate) fn slowest_writes(&self) -> Vec<Slow> {
        worst_first(self.writes.iter().filter_map(|(life, write)| {
            let body = (write.commit.begin, write.commit.end);
            let what = || format!("write {:?} {:?}", write.commit.kind, write.outcome);
            let bound = SLOW + waits(write.commit.kind) * self.lapse;
            self.slow(*life, (write.begin, write.end), body, bound, what)
        }))
    }

    fn slow(
        &self,
        life: Life,
        span: (Nanos, Nanos),
        load: (Nanos, Nanos),
        bound: Nanos,
        what: impl FnOnce() -> String,
    ) -> Option<Slow> {
        let raw = (span.1 - span.0) - overlap(span, load);
        if raw < SLOW / 10 {
            return None;
        }
        // What the load took is not counted twice.
        let before = (span.0, load.0.clamp(span.0, span.1));
        let after = (load.1.clamp(span.0, span.1), span.1);
        let stalled = if overlap(span, load) == 0 {
            self.stalled(life, span)
        } else {
            self.stalled(life, before) + self.stalled(life, after)
        };
        Some(Slow { life, what: what(), span, beyond: raw.saturating_sub(stalled), bound })
    }
}

fn worst_first(slow: impl Iterator<Item = Slow>) -> Vec<Slow> {
    let mut slow: Vec<_> = slow.collect();
    slow.sort_by_key(|slow| std::cmp::Reverse(slow.beyond));
    slow
}
