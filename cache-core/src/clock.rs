//! The time by which leases lapse and values expire.
//!
//! In production it is [`Instant::now`]. Tests take a [`ManualClock`] and move it themselves, so that nothing in them
//! sleeps. Either way time is monotonic: it never runs backwards.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// Where the time comes from. Cheap to clone; clones of a manual clock move together.
///
/// ```
/// use std::time::Duration;
/// use cache_core::{Clock, ManualClock};
///
/// let manual = ManualClock::new();
/// let clock = Clock::from(&manual);
/// let before = clock.now();
/// manual.advance(Duration::from_secs(60));
/// assert_eq!(clock.now() - before, Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Clock {
    /// The machine's monotonic clock.
    #[default]
    System,
    /// A clock that stands still until it is moved.
    Manual(ManualClock),
}

impl Clock {
    /// The time now.
    #[inline]
    pub fn now(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            Self::Manual(manual) => manual.now(),
        }
    }

    /// The time of day, for what is stored and outlives the process. A manual clock adds what it was moved by to the
    /// time at which it was made.
    pub fn system_time(&self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Manual(manual) => manual.start_time + (manual.now() - manual.start),
        }
    }
}

impl From<&ManualClock> for Clock {
    fn from(manual: &ManualClock) -> Self {
        Self::Manual(manual.clone())
    }
}

/// A clock for tests, moved by hand.
#[derive(Clone)]
pub struct ManualClock {
    start: Instant,
    start_time: SystemTime,
    /// Nanoseconds since `start`.
    passed: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at the present moment.
    pub fn new() -> Self {
        Self { start: Instant::now(), start_time: SystemTime::now(), passed: Arc::default() }
    }

    /// Moves this clock and its clones forward. The reach of a manual clock is 584 years.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.passed.fetch_add(by, Ordering::SeqCst);
    }

    /// The time that it shows.
    pub fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.passed.load(Ordering::SeqCst))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock(+{:?})", Duration::from_nanos(self.passed.load(Ordering::SeqCst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_until_it_is_moved_and_its_clones_with_it() {
        let manual = ManualClock::new();
        let clock = Clock::from(&manual);
        let start = clock.now();
        assert_eq!(clock.now(), start);
        manual.clone().advance(Duration::from_millis(5));
        assert_eq!(clock.now() - start, Duration::from_millis(5));
    }

    #[test]
    fn the_system_clock_moves_by_itself() {
        let clock = Clock::default();
        let start = clock.now();
        while clock.now() == start {}
        assert!(clock.now() > start);
    }
}
