//! How often a server is started again, and after which pause.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What to do about a server that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start it again after this.
    After(Duration),
    /// It was started too often: wait for so long.
    Later(Duration),
}

/// The restarts of late.
#[derive(Debug)]
pub(crate) struct Backoff {
    times: u32,
    within: Duration,
    restarts: VecDeque<Instant>,
}

impl Backoff {
    pub(crate) fn new((times, within): (u32, Duration)) -> Self {
        Self { times, within, restarts: VecDeque::new() }
    }

    /// Counts the restart if there may be one.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        while self.restarts.front().is_some_and(|first| now.duration_since(*first) >= self.within) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= self.times as usize {
            let past = self.restarts.front().map_or(Duration::ZERO, |first| now.duration_since(*first));
            return Next::Later(self.within.saturating_sub(past).max(FIRST_PAUSE));
        }
        let doublings = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX).min(16);
        self.restarts.push_back(now);
        let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
        Next::After(pause.mul_f64(1.0 - fastrand::f64() / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_with_jitter_up_to_a_bound() {
        let mut backoff = Backoff::new((20, Duration::from_secs(60)));
        let now = Instant::now();
        let mut longest = FIRST_PAUSE;
        for _ in 0..20 {
            let Next::After(pause) = backoff.next(now) else { panic!("it is not too often yet") };
            assert!(pause <= longest && pause >= longest / 2, "{pause:?} of {longest:?}");
            longest = (longest * 2).min(LONGEST_PAUSE);
        }
    }

    #[test]
    fn after_too_many_restarts_it_waits_until_the_first_is_past() {
        let mut backoff = Backoff::new((2, Duration::from_secs(60)));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(matches!(backoff.next(at(0)), Next::After(_)));
        assert!(matches!(backoff.next(at(10)), Next::After(_)));
        assert_eq!(backoff.next(at(15)), Next::Later(Duration::from_secs(45)));
        assert_eq!(backoff.next(at(59)), Next::Later(Duration::from_secs(1)));
        assert!(matches!(backoff.next(at(60)), Next::After(_)));
        assert_eq!(backoff.next(at(61)), Next::Later(Duration::from_secs(9)));
    }

    #[test]
    fn none_is_allowed_where_none_is_asked_for() {
        let mut backoff = Backoff::new((0, Duration::from_secs(60)));
        assert_eq!(backoff.next(Instant::now()), Next::Later(Duration::from_secs(60)));
    }

    #[test]
    fn extreme_bounds_neither_spin_nor_overflow() {
        assert_eq!(Backoff::new((0, Duration::ZERO)).next(Instant::now()), Next::Later(FIRST_PAUSE));
        let mut backoff = Backoff::new((1, Duration::MAX));
        let now = Instant::now();
        assert!(matches!(backoff.next(now), Next::After(_)));
        assert_eq!(backoff.next(now), Next::Later(Duration::MAX));
    }
}
