//! The time by which leases lapse and values expire.
//!
//! In production it is the machine's monotonic clock. Tests take a [`ManualClock`] and move it themselves, so that nothing
//! in them sleeps. Either way time is monotonic: it never runs backwards.
//!
//! A hit asks one question of the time, whether its value is over, and exact time is the dearest part of the answer. So it
//! is asked in two steps: by the time of the kernel's last tick where that is known (Linux), and exactly only where the end is
//! near. The kernel keeps ticking for a process that is stopped, so nothing lives longer for a pause.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// How far the time of the last tick may lie behind: a tick has 1 to 10 ms, and a kernel whose timekeeping processor is held up
/// by a hypervisor notices after a few of them. Ends that are nearer than this are compared with the exact time.
const BEHIND: Duration = Duration::from_millis(100);

/// A moment of a [`Clock`], to the nanosecond. Those of two clocks have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero if that came later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The machine's clock as [`Tick`]s.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod machine {
    use rustix::time::{ClockId, clock_gettime};

    use super::Tick;

    pub(super) fn exact() -> Tick {
        read(ClockId::Monotonic)
    }

    /// Of the kernel's last tick: on the same scale, and never ahead.
    #[inline]
    pub(super) fn coarse() -> Tick {
        read(ClockId::MonotonicCoarse)
    }

    #[inline]
    #[allow(clippy::cast_sign_loss, reason = "the monotonic clock begins with the machine, and its parts are positive")]
    fn read(clock: ClockId) -> Tick {
        let now = clock_gettime(clock);
        Tick(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }
}

/// The machine's clock as [`Tick`]s.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod machine {
    use std::{sync::LazyLock, time::Instant};

    use super::{Tick, nanos};

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub(super) fn exact() -> Tick {
        Tick(nanos(START.elapsed()))
    }

    pub(super) fn coarse() -> Tick {
        exact()
    }
}

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

    /// The time now, exactly.
    pub(crate) fn tick(&self) -> Tick {
        match self {
            Self::System => machine::exact(),
            Self::Manual(manual) => Tick(manual.passed.load(Ordering::SeqCst)),
        }
    }

    /// Whether `end` has yet to come.
    #[inline]
    pub(crate) fn is_before(&self, end: Tick) -> bool {
        match self {
            Self::System => {
                let now = machine::coarse();
                now < end && (now.after(BEHIND) < end || machine::exact() < end)
            }
            Self::Manual(_) => self.tick() < end,
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
        Self::starting_at(Instant::now(), SystemTime::now())
    }

    /// A clock that stands at this moment, as another clock has it that is moved by hand.
    pub fn starting_at(start: Instant, start_time: SystemTime) -> Self {
        Self { start, start_time, passed: Arc::default() }
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
    fn the_quick_answer_is_the_exact_one_however_near_the_end() {
        let clock = Clock::System;
        for _ in 0..2_000 {
            for micros in [0, 1, 500, 5_000, 200_000] {
                let before = clock.tick();
                let end = before.after(Duration::from_micros(micros));
                let answer = clock.is_before(end);
                let after = clock.tick();
                assert!(answer || after >= end, "{micros} µs: over before its time");
                assert!(!answer || before < end, "{micros} µs: not over in time");
            }
        }
        let end = clock.tick().after(Duration::from_millis(20));
        while clock.tick() < end {}
        assert!(!clock.is_before(end), "what is over by the exact time is over, whenever the last tick was");
        assert!(clock.is_before(Tick(u64::MAX)));
    }

    #[test]
    fn the_system_clock_moves_by_itself() {
        let clock = Clock::default();
        let start = clock.now();
        while clock.now() == start {}
        assert!(clock.now() > start);
    }
}
