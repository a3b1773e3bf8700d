//! How long an entry lives, and what happens around the end of its life.

use std::time::Duration;

/// The longest lifetime of any entry; a longer TTL is cut to it.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

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
}

impl Policy {
    /// Entries live for `ttl`, less a jitter of up to 10 %.
    pub const fn new(ttl: Duration) -> Self {
        Self { ttl, negative_ttl: None, jitter: 0.1, refresh_ahead: None, stale_if_error: Duration::ZERO, version: 1 }
    }

    /// The TTL of absent values (`None`); the ordinary one by default.
    #[must_use]
    pub const fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self
    }

    /// Shortens each stored TTL by up to this share (0 to 1), at random, so that entries of one moment do not expire in one moment.
    #[must_use]
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Refreshes early, by one caller, with a probability that rises towards the end of the TTL, while the others keep the current
    /// value: `XFetch` of Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention" (VLDB
    /// 2015). `beta` over 1 refreshes earlier.
    #[must_use]
    pub const fn refresh_ahead(mut self, beta: f64) -> Self {
        self.refresh_ahead = Some(beta);
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
}
