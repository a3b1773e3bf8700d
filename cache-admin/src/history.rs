//! What the cache did in the last minutes: its counters, noted at intervals.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use cache_core::Stats;
use serde::Serialize;

/// How many samples are kept.
const KEPT: usize = 451;

/// The counters at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    hits: u64,
    misses: u64,
    loads: u64,
    load_errors: u64,
    load_time: Duration,
    invalidations: u64,
}

/// What happened between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Interval {
    /// How long ago it ended.
    pub seconds_ago: f64,
    /// How long it was.
    pub seconds: f64,
    /// Calls answered by a stored value.
    pub hits: u64,
    /// Calls that found none.
    pub misses: u64,
    /// Loads run.
    pub loads: u64,
    /// Of the loads, those that failed.
    pub load_errors: u64,
    /// Time spent in loads.
    pub load_seconds: f64,
    /// Targets invalidated.
    pub invalidations: u64,
}

/// The last samples.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
}

impl History {
    pub(crate) fn note(&mut self, at: Instant, stats: &Stats) {
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        let total = stats.total;
        self.samples.push_back(Sample {
            at,
            hits: total.hits,
            misses: total.misses,
            loads: total.loads,
            load_errors: total.load_errors,
            load_time: total.load_time,
            invalidations: stats.invalidations_applied + stats.invalidations_journaled,
        });
    }

    /// From the oldest to the newest.
    pub(crate) fn intervals(&self, now: Instant) -> Vec<Interval> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs.map(|(before, after)| between(before, after, now)).collect()
    }
}

fn between(before: &Sample, after: &Sample, now: Instant) -> Interval {
    // The rows of other threads are read one after the other: a sum may be behind for a moment, never for long.
    Interval {
        seconds_ago: now.saturating_duration_since(after.at).as_secs_f64(),
        seconds: after.at.saturating_duration_since(before.at).as_secs_f64(),
        hits: after.hits.saturating_sub(before.hits),
        misses: after.misses.saturating_sub(before.misses),
        loads: after.loads.saturating_sub(before.loads),
        load_errors: after.load_errors.saturating_sub(before.load_errors),
        load_seconds: after.load_time.saturating_sub(before.load_time).as_secs_f64(),
        invalidations: after.invalidations.saturating_sub(before.invalidations),
    }
}

impl Interval {
    /// Calls, hits and misses together.
    pub fn calls(&self) -> u64 {
        self.hits + self.misses
    }

    /// The share of calls that were hits, 0 to 1. None without calls.
    pub fn hit_rate(&self) -> Option<f64> {
        ratio(self.hits as f64, self.calls())
    }

    /// How long a load took on average, in seconds.
    pub fn mean_load(&self) -> Option<f64> {
        ratio(self.load_seconds, self.loads)
    }

    /// What a call cost on average in loads, in seconds, hits included.
    pub fn load_per_call(&self) -> Option<f64> {
        ratio(self.load_seconds, self.calls())
    }

    /// Both, as one.
    pub(crate) fn joined(self, later: &Self) -> Self {
        Self {
            seconds_ago: later.seconds_ago,
            seconds: self.seconds + later.seconds,
            hits: self.hits + later.hits,
            misses: self.misses + later.misses,
            loads: self.loads + later.loads,
            load_errors: self.load_errors + later.load_errors,
            load_seconds: self.load_seconds + later.load_seconds,
            invalidations: self.invalidations + later.invalidations,
        }
    }
}

pub(crate) fn ratio(part: f64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(hits: u64, misses: u64) -> Stats {
        let mut stats = Stats::default();
        (stats.total.hits, stats.total.misses, stats.total.loads) = (hits, misses, misses);
        stats.total.load_time = Duration::from_millis(10 * misses);
        stats
    }

    #[test]
    fn an_interval_is_what_happened_between_two_samples() {
        let (mut history, start) = (History::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        history.note(start, &stats(5, 5));
        assert!(history.intervals(start).is_empty());
        history.note(after(2), &stats(8, 6));
        history.note(after(4), &stats(8, 6));
        let [busy, idle] = history.intervals(after(5))[..] else { panic!("two") };
        assert_eq!((busy.hits, busy.misses, busy.hit_rate()), (3, 1, Some(0.75)));
        assert_eq!((busy.seconds_ago, busy.seconds), (3.0, 2.0));
        assert!((busy.mean_load().unwrap() - 0.01).abs() < 1e-9);
        assert!((busy.load_per_call().unwrap() - 0.0025).abs() < 1e-9);
        assert_eq!((idle.calls(), idle.hit_rate(), idle.mean_load()), (0, None, None));
        assert_eq!(busy.joined(&idle).calls(), 4);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut history, start) = (History::default(), Instant::now());
        for second in 0..2_000 {
            history.note(start + Duration::from_secs(second), &stats(second, 0));
        }
        assert_eq!(history.intervals(start).len(), KEPT - 1);
        assert_eq!(history.samples.back().unwrap().hits, 1_999, "the newest stay");
    }
}
