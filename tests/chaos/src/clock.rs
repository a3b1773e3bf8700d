//! The machine's monotonic clock, which all processes share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment, in nanoseconds of the machine's monotonic clock.
pub(crate) type Nanos = u64;

/// Now, by the clock that all processes of this machine share.
pub(crate) fn now() -> Nanos {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).expect("the monotonic clock is not negative");
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

pub(crate) fn millis(nanos: Nanos) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e3
}

/// How much of the first interval the second covers.
pub(crate) fn overlap(one: (Nanos, Nanos), other: (Nanos, Nanos)) -> Nanos {
    one.1.min(other.1).saturating_sub(one.0.max(other.0))
}
