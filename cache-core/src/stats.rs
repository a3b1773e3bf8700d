//! Counters: what each function's cache did.

mod invalidations;
mod ledger;
mod requests;
mod stripes;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use requests::RequestCounters;
pub use requests::Requests;

use crate::trace::Seldom;
pub(crate) use invalidations::Invalidations;

pub(crate) use ledger::{Ledger, Slot};
pub(crate) use requests::{Answer, Tally};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What happened to the calls of one function, or of all.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct FunctionStats {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// Time spent in loads, in all.
            pub load_time: Duration,
            /// What answered the calls, each of which counts once there.
            pub requests: Requests,
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            /// The function's, as it is shown.
            name: Arc<str>,
            $(pub(crate) $name: Counter,)+
            load_nanos: Counter,
            requests: RequestCounters,
            /// Says of hits that are not what the source says.
            pub(crate) mismatch: Seldom,
            /// Hits that memory answered at once, of keys without a slot.
            quick: Counter,
        }

        impl Counters {
            fn snapshot(&self) -> FunctionStats {
                FunctionStats {
                    $($name: self.$name.get(),)+
                    load_time: Duration::from_nanos(self.load_nanos.get()),
                    requests: self.requests.snapshot(),
                }
            }
        }

        impl std::ops::AddAssign for FunctionStats {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
                self.load_time += other.load_time;
                self.requests += other.requests;
            }
        }
    };
}

counters! {
    /// Calls answered by a stored value.
    hits,
    /// Of the hits, those that a copy in this process's memory answered, in front of a store that others share.
    l1_hits,
    /// Calls that found no valid value.
    misses,
    /// Misses that took the value of a load already under way in this process.
    joined,
    /// Loads run.
    loads,
    /// Loads that failed.
    load_errors,
    /// Values stored.
    fills,
    /// Values that were not stored because the lease was gone: invalidated meanwhile, or lapsed.
    refused,
    /// Values that were not stored because the store failed or did not answer in time.
    unstored,
    /// Values that were not stored because the codec could not carry them.
    unencodable,
    /// Values that `cache_if` turned away.
    not_cached,
    /// Stored values that could not be read: corrupt, foreign, or of another release.
    unreadable,
    /// Of the fills, those that replaced a value: refreshed early, or expired but kept for `stale_if_error`.
    refreshed,
    /// Expired values served because the load failed.
    served_stale,
    /// Loads that could not be stored because a writer held the entry.
    held,
    /// Calls made while the store was out of reach.
    degraded,
    /// Store calls that failed or timed out.
    store_errors,
    /// Calls inside a transaction, which go to the source and store nothing.
    bypassed,
    /// Hits that were verified: loaded as well, and compared.
    verified,
    /// Of these, hits whose value was not what the source says, with no invalidation under way.
    mismatched,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds one, and tells whether it is the first.
    pub(crate) fn is_first(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == 0
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The function's name, as it is shown: one of a bounded number.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn loaded(&self, took: Duration) {
        self.loads.add(1);
        self.load_nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// A snapshot of a cache's counters, since it was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// By the first segment of the key: the `key_prefix` of the function. Past 4,096 of them the rest is `(others)`.
    pub functions: BTreeMap<String, FunctionStats>,
    /// The sum over all functions.
    pub total: FunctionStats,
    /// Targets whose invalidation was in force when it returned.
    pub invalidations_applied: u64,
    /// Targets whose invalidation was queued because the store was out of reach.
    pub invalidations_journaled: u64,
    /// Copies in this process's memory, in front of a store that others share, those included that are over and have not been touched
    /// since.
    pub l1_entries: usize,
    /// What these cost, in bytes, with keys and bookkeeping.
    pub l1_bytes: u64,
    /// How many copies had to make room for others.
    pub l1_evictions: u64,
}

impl Stats {
    /// The share of calls that were hits, 0 to 1; 0 without calls.
    pub fn hit_rate(&self) -> f64 {
        let calls = self.total.hits + self.total.misses;
        #[allow(clippy::cast_precision_loss, reason = "a share needs no 64 bits")]
        if calls == 0 { 0.0 } else { self.total.hits as f64 / calls as f64 }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<32} {:>9} {:>9} {:>9} {:>9} {:>9}", "function", "hits", "misses", "joined", "loads", "fills")?;
        for (name, stats) in
            self.functions.iter().map(|(name, stats)| (name.as_str(), stats)).chain([("total", &self.total)])
        {
            let FunctionStats { hits, misses, joined, loads, fills, .. } = stats;
            writeln!(f, "{name:<32} {hits:>9} {misses:>9} {joined:>9} {loads:>9} {fills:>9}")?;
        }
        write!(f, "invalidated: {} applied, {} journaled", self.invalidations_applied, self.invalidations_journaled)
    }
}
