//! The line a second, and the table at the end with the verdict.

use std::{collections::HashMap, process::ExitCode};

use crate::{
    Copies, MAX_TTL,
    checker::{Book, Judgement, Slow, Stale},
    clock::{Nanos, millis, nanos},
    fact::{Counters, Fact, Life, Told},
    faults::Faults,
    kit::Ledger,
    world::Reach,
};

/// Within this a journal has to be in force once Redis is reachable.
const RECOVERY: Nanos = 2_000_000_000;

/// The exit code if only the bounds on time were broken, which a busy machine can do by itself.
const LATE: u8 = 3;

/// How many violations of a kind are printed in full.
const SHOWN: usize = 10;

/// Counts as facts come in.
#[derive(Default)]
pub(crate) struct Tally {
    counters: HashMap<Life, Counters>,
    pub(crate) errors: Vec<(Life, String)>,
    /// What the blocks of the kit have granted.
    granted: Ledger,
    stale: usize,
    reads: u64,
    loaded: u64,
    applied: u64,
    journaled: u64,
}

impl Tally {
    pub(crate) fn note(&mut self, book: &mut Book, life: Life, fact: Fact) {
        match &fact {
            Fact::Read(read) => {
                self.reads += 1;
                self.loaded += u64::from(read.snapshot.begin >= read.begin);
            }
            Fact::Write(write) if write.outcome == Told::Journaled => self.journaled += 1,
            Fact::Write(_) => self.applied += 1,
            Fact::Counters(counters) => drop(self.counters.insert(life, *counters)),
            Fact::Error(error) => self.errors.push((life, error.clone())),
            Fact::Kit(granted) => {
                self.errors.extend(self.granted.note(granted.clone()).map(|broken| (life, broken)));
            }
            _ => {}
        }
        self.stale += usize::from(book.note(life, fact).is_some());
    }

    pub(crate) fn print_line(&mut self, second: u64, faults: &Faults) {
        let Self { reads, loaded, applied, journaled, .. } = *self;
        let hits = (reads - loaded) * 100 / reads.max(1);
        println!(
            "{second:>3} s {reads:>6} reads {hits:>3} % stored {applied:>5} applied {journaled:>4} journaled {:>3} stale {:>2} errors  {}",
            self.stale,
            self.errors.len(),
            faults.names(),
        );
        (self.reads, self.loaded, self.applied, self.journaled) = (0, 0, 0, 0);
    }

    fn total(&self) -> Counters {
        let mut total = Counters::default();
        for life in self.counters.values() {
            total.hits += life.hits;
            total.l1_hits += life.l1_hits;
            total.misses += life.misses;
            total.loads += life.loads;
            total.joined += life.joined;
            total.fills += life.fills;
            total.refused += life.refused;
            total.held += life.held;
            total.degraded += life.degraded;
            total.store_errors += life.store_errors;
            total.applied += life.applied;
            total.journaled += life.journaled;
        }
        total
    }
}

/// What a run came to.
pub(crate) struct Report<'a> {
    pub(crate) seed: u64,
    pub(crate) began: Nanos,
    pub(crate) book: &'a Book,
    pub(crate) tally: &'a Tally,
    pub(crate) faults: &'a Faults,
    pub(crate) reach: &'a [Reach],
    pub(crate) copies: Copies,
    pub(crate) shows_log: bool,
}

impl Report<'_> {
    /// Prints everything. Success if no promise was broken.
    pub(crate) fn print(&self) -> ExitCode {
        let judgement = self.book.judge_all();
        let stale = &judgement.stale;
        let (slow_reads, slow_writes) = (self.book.slowest_reads(), self.book.slowest_writes());
        let (recoveries, overdue) = self.recoveries();
        if self.shows_log {
            self.print_log();
        }
        stale.iter().take(SHOWN).for_each(|stale| self.print_history("STALE", stale));
        judgement.late.iter().take(SHOWN).for_each(|late| self.print_history("LATE", late));
        for (life, error) in self.tally.errors.iter().take(SHOWN) {
            println!("ERROR in life {life}: {error}");
        }
        self.faults.unexpected.iter().for_each(|what| println!("ERROR: {what}"));
        let too_slow = self.print_late(&slow_reads) + self.print_late(&slow_writes);
        overdue.iter().take(SHOWN).for_each(|overdue| println!("OVERDUE: {overdue}"));
        self.print_table(&judgement);
        for slow in slow_reads.iter().take(3).chain(slow_writes.iter().take(3)) {
            row(
                "slow",
                format!("{:.1} ms, life {} at {}: {}", millis(slow.beyond), slow.life, self.at(slow.span.0), slow.what),
            );
        }
        let errors = self.tally.errors.len() + self.faults.unexpected.len();
        row("stale reads", stale.len());
        row("errors shown to callers", errors);
        row("slowest read beyond its load", slowest(&slow_reads, "250 ms"));
        let bound = match millis(nanos(self.copies.lapse())) {
            0.0 => "250 ms".to_owned(),
            lapse => format!("250 ms and {lapse:.0} ms for each invalidation and hold"),
        };
        row("slowest write beyond its body", slowest(&slow_writes, &bound));
        row("runtime held up, at most", format!("{:.1} ms", millis(self.book.latest_runtime())));
        let longest = recoveries.iter().max().map_or(0, |longest| *longest);
        row(
            "journal in force after reachable",
            format!("{:.0} ms at most of {} ({} overdue)", millis(longest), recoveries.len(), overdue.len()),
        );
        let (right, in_time) =
            (stale.is_empty() && errors == 0, too_slow == 0 && overdue.is_empty() && judgement.late.is_empty());
        let (verdict, code) = match (right, in_time) {
            (true, true) => ("every promise held", ExitCode::SUCCESS),
            (true, false) => ("LATE", LATE.into()),
            (false, _) => ("BROKEN", ExitCode::FAILURE),
        };
        println!("{verdict} --seed {}", self.seed);
        code
    }

    fn print_table(&self, judgement: &Judgement) {
        let bounded = &judgement.bounded;
        let (book, total) = (self.book, self.tally.total());
        println!("\nby kind");
        let count = |told| book.writes.iter().filter(|(_, write)| write.outcome == told).count();
        let degraded = book.reads.iter().filter(|(_, read)| read.degraded).count();
        row("reads", format!("{}, of these {degraded} with Redis out of reach", book.reads.len()));
        let tier = |is_degraded| {
            let stored = |(_, read): &&(Life, crate::fact::Read)| {
                read.degraded == is_degraded && read.snapshot.begin < read.begin
            };
            book.reads.iter().filter(stored).count()
        };
        row(
            "stored values read",
            format!("{} from Redis or a copy, {} from memory in an outage", tier(false), tier(true)),
        );
        row("hits", format!("{}, of these {} from copies in memory", total.hits, total.l1_hits));
        row(
            "loads",
            format!("{}, {} fills refused, {} calls found a quarantine", total.loads, total.refused, total.held),
        );
        row("store calls that failed", total.store_errors);
        let (applied, journaled, unknown) = (count(Told::Applied), count(Told::Journaled), count(Told::Unknown));
        row("writes applied", format!("{applied} ({} targets)", total.applied));
        row("writes journaled", format!("{journaled} ({} targets)", total.journaled));
        row("writes refused, outcome unknown", format!("{}, {unknown}", book.refused));
        row(
            "writers killed after the commit",
            format!("{} held (judged), {} not", book.killed_held, book.killed_unheld),
        );
        for (name, count) in &self.faults.count {
            row(&format!("fault {name}"), count);
        }
        let granted = &self.tally.granted;
        row("kit: codes accepted, locks had", format!("{} and {}, none twice", granted.codes(), granted.fences()));
        row(
            "kit: sessions read, limits asked, messages",
            format!("{}, {}, {}", granted.sessions, granted.decisions, granted.messages),
        );
        row("journaled by the killed, replayed", format!("{} by the next in their places", book.inherited));
        row("keys evicted", self.faults.evicted);
        let handover = millis(self.faults.longest_handover);
        row(
            "replicas that became primaries",
            format!("{}, in doubt for at most {handover:.0} ms", self.faults.promoted),
        );
        let worst = bounded.iter().max().map_or(0, |worst| *worst);
        let bound = MAX_TTL.as_millis();
        row(
            "old values within the degraded bound",
            format!("{}, loaded at most {:.0} ms before (max_ttl {bound} ms)", bounded.len(), millis(worst)),
        );
        let last = judgement.demoted.iter().max().map_or(0, |last| *last);
        let (demoted, late) = (judgement.demoted.len(), judgement.late.len());
        row(
            "old values right after a demotion",
            format!("{demoted}, the last one {:.0} ms after; {late} late", millis(last)),
        );
    }

    /// Prints the calls that took longer than they may. Returns how many there are.
    fn print_late(&self, slow: &[Slow]) -> usize {
        for slow in slow.iter().filter(|slow| slow.is_late()).take(SHOWN) {
            let (from, to) = slow.span;
            println!(
                "SLOW in life {}: {}; {:.1} ms beyond its load, from {} to {}",
                slow.life,
                slow.what,
                millis(slow.beyond),
                self.at(from),
                self.at(to)
            );
            self.print_faults(from.saturating_sub(500_000_000), to);
        }
        slow.iter().filter(|slow| slow.is_late()).count()
    }

    /// How long journaled invalidations took once Redis was reachable, and which took too long.
    fn recoveries(&self) -> (Vec<Nanos>, Vec<String>) {
        let mut in_force = HashMap::new();
        for &(life, row, version, at) in &self.book.in_force {
            in_force.insert((life, row, version), at);
        }
        let (mut took, mut overdue) = (Vec::new(), Vec::new());
        for (life, write) in self.book.writes.iter().filter(|(_, write)| write.outcome == Told::Journaled) {
            let commit = &write.commit;
            let done = in_force.get(&(*life, commit.row, commit.version)).copied();
            let mut longest = 0;
            for &(reached, from, to) in self.reach {
                let from = from.max(write.end);
                let until = done.unwrap_or(Nanos::MAX).min(to);
                if reached == *life && until > from {
                    longest = longest.max((until - from).saturating_sub(self.book.stalled(*life, (from, until))));
                }
            }
            took.push(longest);
            if longest > RECOVERY {
                overdue.push(format!(
                    "row {} version {} of life {life}, journaled at {}: {:.0} ms after Redis was reachable, in force at {}",
                    commit.row,
                    commit.version,
                    self.at(write.end),
                    millis(longest),
                    done.map_or("no time".to_owned(), |at| self.at(at)),
                ));
            }
        }
        (took, overdue)
    }

    fn print_history(&self, what: &str, stale: &Stale) {
        println!(
            "\n{what} at {}: life {} read version {} of row {}, and {} was due: {}",
            self.at(stale.read.begin),
            stale.life,
            stale.version,
            stale.row,
            stale.expected,
            stale.why
        );
        let mut lines = self.book.history(stale);
        let from = lines.iter().map(|line| line.0).min().unwrap_or(0).saturating_sub(nanos(MAX_TTL) / 2);
        let faults = self.faults.log.iter().filter(|(at, _)| (from..=stale.read.end).contains(at));
        lines.extend(faults.map(|(at, what)| (*at, format!("FAULT {what}"))));
        lines.sort();
        for (at, what) in &lines {
            println!("  {} {what}", self.at(*at));
        }
    }

    fn print_log(&self) {
        let link = |&(life, up, at): &(Life, bool, Nanos)| {
            (at, format!("life {life}: link {}", if up { "up" } else { "down" }))
        };
        let mut log: Vec<_> = self.book.links.iter().map(link).chain(self.faults.log.iter().cloned()).collect();
        log.sort();
        for (at, what) in log {
            println!("LOG {} {what}", self.at(at));
        }
    }

    fn print_faults(&self, from: Nanos, to: Nanos) {
        let mut log: Vec<_> = self.faults.log.iter().filter(|(at, _)| (from..=to).contains(at)).collect();
        log.sort_by_key(|(at, _)| *at);
        for (at, what) in log {
            println!("  {} FAULT {what}", self.at(*at));
        }
    }

    /// A moment of the run.
    fn at(&self, at: Nanos) -> String {
        #[allow(clippy::cast_precision_loss, reason = "for people to read")]
        let seconds = (i128::from(at) - i128::from(self.began)) as f64 / 1e9;
        format!("{seconds:.6}")
    }
}

fn slowest(slow: &[Slow], bound: &str) -> String {
    let (worst, late) = (slow.first().map_or(0, |slow| slow.beyond), slow.iter().filter(|slow| slow.is_late()).count());
    format!("{:.1} ms ({late} over {bound})", millis(worst))
}

fn row(name: &str, value: impl std::fmt::Display) {
    println!("  {name:<38} {value}");
}
