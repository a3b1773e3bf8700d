//! How long an entry lives, and what happens around the end of its life.

use std::time::Duration;

/// The longest lifetime of any entry; a longer TTL is cut to it.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest lifetime: what stores can tell from none.
const MIN_TTL: Duration = Duration::from_millis(1);

/// How long an entry lives, and what happens around the end of its life.
///
/// ```
/// use std::time::Duration;
/// use cache_core::Policy;
///
/// let policy = Policy::new(Duration::from_secs(900)).negative_ttl(Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    pub(crate) ttl: Duration,
    pub(crate) negative_ttl: Option<Duration>,
    pub(crate) jitter: f64,
    pub(crate) refresh_ahead: Option<f64>,
    pub(crate) stale_if_error: Duration,
    pub(crate) version: u32,
    pub(crate) verify: Option<f64>,
    pub(crate) l1: Option<L1>,
    pub(crate) pin: bool,
}

/// What an instance does with copies of values in its own memory, in front of a store that it shares with others.
///
/// A copy is a decoded value, shared by all who read it, within
/// [`memory_limit`](crate::CacheBuilder::memory_limit). An entry is to be read under one mode by all of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum L1 {
    /// No copies: each hit reads and decodes the value.
    Off,
    /// Each hit asks the store, in one small round trip, whether the copy is still what it would answer. As strict as without copies.
    Validated,
    /// Hits need no round trip. Just as strict: an invalidation returns when every instance has dropped its copies, or its right to serve
    /// them has lapsed, after a second at most. While the store grants no such right, as without a feed (RESP3 and its
    /// `SUBSCRIBE` and `PUBLISH`), it is as [`Validated`](L1::Validated).
    Leased,
    /// Hits need no round trip. Not strict: what other instances invalidate may be served for so long; what this one invalidates is not.
    For(Duration),
}

impl Policy {
    /// Entries live for `ttl`, less a jitter of up to 10 %.
    ///
    /// Memory compares an end that is more than 100 ms away with the time of the kernel's last tick, which is a few milliseconds
    /// behind on Linux, and a nearer one with the exact time. So nothing outlives its TTL, also in a process that was stopped
    /// meanwhile. The exception is a kernel that itself has not ticked for more than 100 ms while the process runs, as old ones may
    /// under a hypervisor: there it is what the kernel is late beyond that.
    pub const fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            negative_ttl: None,
            jitter: 0.1,
            refresh_ahead: None,
            stale_if_error: Duration::ZERO,
            version: 1,
            verify: None,
            l1: None,
            pin: false,
        }
    }

    /// The TTL of absent values (`None`); the ordinary one by default.
    #[must_use]
    pub const fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self
    }

    /// Shortens each stored TTL by up to this share (0 to 1), at random, so that entries of one moment do not expire in one moment.
    /// What lies outside is cut to it, and no number is 0.
    #[must_use]
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share_of(share);
        self
    }

    /// Refreshes early, by one caller, with a probability that rises towards the end of the TTL, while the others keep the current
    /// value: `XFetch` of Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention" (VLDB
    /// 2015). `beta` over 1 refreshes earlier; what is not over 0 is off.
    #[must_use]
    pub const fn refresh_ahead(mut self, beta: f64) -> Self {
        self.refresh_ahead = if beta > 0.0 { Some(beta) } else { None };
        self
    }

    /// When a load fails, a value that expired no longer ago than this serves instead. Never one that was invalidated.
    #[must_use]
    pub const fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window;
        self
    }

    /// Part of the fingerprint of stored values: another version makes every old entry a miss.
    #[must_use]
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Verifies this share of the hits (0 to 1): the loader runs as well, and the values are compared. Finds writes that forget an
    /// invalidation. Off by default, or as the cache says.
    #[must_use]
    pub const fn verify(mut self, share: f64) -> Self {
        self.verify = Some(share_of(share));
        self
    }

    /// What is done with copies in the memory of this process, where the entries are in a store that others share. By default as the
    /// [cache](crate::CacheBuilder::l1) says.
    #[must_use]
    pub const fn l1(mut self, mode: L1) -> Self {
        self.l1 = Some(mode);
        self
    }

    /// Keeps values in the memory of this process until they expire or are invalidated, whatever else comes: for the few that every
    /// request needs. At most half of the [memory limit](crate::CacheBuilder::memory_limit) can be pinned; what goes beyond that is
    /// evicted like all the rest. It does not load anything: see [`Cache::warm`](crate::Cache::warm).
    #[must_use]
    pub const fn pin(mut self) -> Self {
        self.pin = true;
        self
    }

    /// How long a value loaded now is fresh, and how long it is kept: longer where it may serve after a failed load.
    pub(crate) fn lifetimes(&self, absent: bool) -> (Duration, Duration) {
        let ttl = if absent { self.negative_ttl.unwrap_or(self.ttl) } else { self.ttl };
        let keep = 1.0 - self.jitter * fastrand::f64();
        let fresh = ttl.min(MAX_TTL).mul_f64(keep).max(MIN_TTL);
        (fresh, fresh.saturating_add(self.stale_if_error).min(MAX_TTL))
    }

    /// Whether a value that took `load_time` to load and has `left` to live is refreshed by this call.
    pub(crate) fn refreshes_early(&self, load_time: Duration, left: Duration) -> bool {
        // `1.0 - f64()` lies in (0, 1], so the logarithm is finite and not positive.
        self.refresh_ahead
            .is_some_and(|beta| load_time.as_secs_f64() * beta * -(1.0 - fastrand::f64()).ln() >= left.as_secs_f64())
    }
}

/// A share within its range, so that no policy can make a cached call panic.
const fn share_of(share: f64) -> f64 {
    if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_only_shortens_and_no_further_than_asked() {
        let policy = Policy::new(Duration::from_secs(100)).jitter(0.2);
        for _ in 0..1000 {
            let (fresh, kept) = policy.lifetimes(false);
            assert!((Duration::from_secs(80)..=Duration::from_secs(100)).contains(&fresh), "{fresh:?}");
            assert_eq!(fresh, kept);
        }
    }

    #[test]
    fn numbers_out_of_range_do_what_is_next_to_them_and_nothing_panics() {
        let ttl = Duration::from_secs(100);
        for number in [f64::NAN, -1.0, -0.0, 0.0, 1.5, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE] {
            let policy = Policy::new(ttl).jitter(number).refresh_ahead(number).verify(number);
            let policy = policy.stale_if_error(Duration::MAX);
            for _ in 0..100 {
                let (fresh, kept) = policy.lifetimes(false);
                assert!(fresh <= ttl && (number > 0.0 || fresh == ttl), "{number}: {fresh:?}");
                assert_eq!(kept, MAX_TTL);
                let early = policy.refreshes_early(Duration::from_secs(1), Duration::ZERO);
                assert_eq!(early, number > 0.0, "{number}");
                policy.refreshes_early(Duration::MAX, Duration::MAX);
            }
            assert!(policy.verify.is_some_and(|share| (0.0..=1.0).contains(&share)), "{number}");
        }
        let longest = Policy::new(Duration::MAX).negative_ttl(Duration::MAX).stale_if_error(Duration::MAX);
        assert!(longest.lifetimes(true).0 <= MAX_TTL);
    }

    #[test]
    fn absent_values_have_their_own_ttl_and_no_ttl_is_longer_than_a_day() {
        let policy = Policy::new(Duration::from_secs(1_000_000)).jitter(0.0).negative_ttl(Duration::from_secs(3));
        assert_eq!(policy.lifetimes(true).0, Duration::from_secs(3));
        assert_eq!(policy.stale_if_error(MAX_TTL).lifetimes(false), (MAX_TTL, MAX_TTL));
    }

    #[test]
    fn an_early_refresh_grows_likelier_towards_the_end() {
        let policy = Policy::new(Duration::from_secs(60)).refresh_ahead(1.0);
        let load = Duration::from_millis(100);
        let share = |left| (0..2000).filter(|_| policy.refreshes_early(load, Duration::from_millis(left))).count();
        let (far, near, at_once) = (share(5_000), share(100), share(1));
        assert!(far == 0 && (500..1000).contains(&near) && at_once > 1900, "{far} {near} {at_once}");
        let off = Policy::new(Duration::from_secs(60));
        assert!(!off.refreshes_early(load, Duration::ZERO));
    }
}
