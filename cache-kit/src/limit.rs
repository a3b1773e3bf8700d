//! Limits on how often something is done: an exact window, and the generic cell rate algorithm for bursts, in one round trip.
//!
//! GCRA is the ATM Forum's algorithm (Traffic Management Specification 4.0, 1996): a *theoretical arrival time* moves on by one interval with
//! each request, and may be ahead of the clock by no more than the burst.

#[cfg(feature = "tower")]
pub mod layer;

use std::time::Duration;

use cache_core::KeyPart;

use crate::{
    Kit, Scope,
    backend::{Backend as _, Rate, Verdict},
};

/// Windows of more than this many would take too much room in Redis.
const LARGEST_WINDOW: u32 = 10_000;

/// In microseconds, so that a time and this can be told to the microsecond in Lua. 71 years.
const LONGEST_SPAN: u64 = 1 << 51;

/// How much is allowed.
///
/// ```
/// use std::time::Duration;
/// use cache_kit::Quota;
///
/// let employees = Quota::per_minute(100);
/// let payments = Quota::new(3, Duration::from_secs(5 * 60));
/// let spread = Quota::per_minute(100).burst(10); // 100 in any minute, no more than 10 at once
/// let steady = Quota::per_second(5_000).without_window().burst(500); // by the rate alone
/// # let _ = (employees, payments, spread, steady);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    count: u32,
    per: Duration,
    burst: u32,
    has_window: bool,
}

impl Quota {
    /// So many in any span of that length, all at once if need be.
    ///
    /// The times of what was allowed are kept for each key, about 10 bytes each. Of more than 10,000 only the rate is looked at.
    ///
    /// # Panics
    ///
    /// Without a count, or a span below a millisecond.
    pub const fn new(count: u32, per: Duration) -> Self {
        assert!(count > 0, "nothing would be allowed");
        assert!(per.as_millis() > 0, "a span has a millisecond at least");
        Self { count, per, burst: count, has_window: count <= LARGEST_WINDOW }
    }

    /// So many in any second.
    pub const fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// So many in any minute.
    pub const fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// No more than so many at once: beyond that they have to be spread as evenly as the quota says.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = if burst == 0 { 1 } else { burst };
        self
    }

    /// Only the rate and the burst count (GCRA alone): two numbers a key, and up to a burst more than the count in one span.
    ///
    /// The time between two is a whole number of microseconds, rounded down: a quota of 60,000 a second lets 62,500 pass.
    #[must_use]
    pub const fn without_window(mut self) -> Self {
        self.has_window = false;
        self
    }

    /// How many.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// In which time.
    pub const fn per(&self) -> Duration {
        self.per
    }

    fn rate(&self) -> Rate {
        let per = u64::try_from(self.per.as_micros()).unwrap_or(LONGEST_SPAN).min(LONGEST_SPAN);
        let interval = (per / u64::from(self.count)).max(1);
        Rate {
            interval,
            ahead: interval.saturating_mul(u64::from(self.burst)).min(LONGEST_SPAN),
            window: self.has_window.then_some((u64::from(self.count), per)),
        }
    }
}

/// What a limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether it may be done. Only then it was counted.
    pub is_allowed: bool,
    /// How many the quota has.
    pub limit: u32,
    /// How many more would be allowed now.
    pub remaining: u32,
    /// How long until it would be allowed; zero if it is.
    pub retry_after: Duration,
    /// How long until all of the quota is there again, if nothing more is done.
    pub reset_after: Duration,
    /// Whose requests were counted: those of all instances, or while Redis is out of reach those of this one.
    pub scope: Scope,
}

/// A limit on how often something is done, by key. Cheap to clone.
///
/// One round trip a decision. While Redis is out of reach each instance counts for itself, from nothing.
#[derive(Clone, Debug)]
pub struct Limiter {
    kit: Kit,
    name: String,
    quota: Quota,
}

impl Limiter {
    pub(crate) fn new(kit: Kit, name: &str, quota: Quota) -> Self {
        Self { kit, name: name.to_owned(), quota }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its quota.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Asks for one.
    pub async fn check<K: KeyPart + ?Sized>(&self, key: &K) -> Decision {
        self.check_many(key, 1).await
    }

    /// Asks for several at once: all or none. More than the quota, or the burst, are never allowed, whatever
    /// [`Decision::retry_after`] says.
    pub async fn check_many<K: KeyPart + ?Sized>(&self, key: &K, cost: u32) -> Decision {
        let call = self.kit.meter().call("limit", &self.name, "check");
        let (at, rate, cost) = (crate::at("limit", &self.name, key), self.quota.rate(), u64::from(cost));
        let (verdict, scope) = match self.kit.main().limit(&at, &rate, cost).await {
            Ok(verdict) => (Some(verdict), Scope::Everywhere),
            Err(error) => match self.kit.instead(error) {
                Ok(here) => (here.limit(&at, &rate, cost).await.ok(), Scope::ThisInstance),
                Err(_) => (None, Scope::ThisInstance),
            },
        };
        let nothing = Verdict { is_allowed: true, wait: Duration::ZERO, left: 0, free: Duration::ZERO };
        let Verdict { is_allowed, wait, left, free } = verdict.unwrap_or(nothing);
        call.end(if is_allowed { "allowed" } else { "refused" }, scope);
        Decision {
            is_allowed,
            limit: self.quota.count,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            retry_after: wait,
            reset_after: free,
            scope,
        }
    }
}
