//! Safety checks that tests can switch off, one at a time, to show that they would notice.
//!
//! A test that finds nothing proves something only if it would have found a mistake. So each check that the promise rests
//! on asks here whether it is switched off. Without the feature `__mutants` the answer is a constant, and nothing of this
//! is left in the program.

/// A safety check that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// Single flight: any load that is under way may be joined.
    JoinsOlderLoads,
    /// Single flight: whoever joined for a lease takes a value that was loaded under another.
    TakesAnyLease,
    /// Single flight: a refresh is joined by who wants another value replaced.
    JoinsRefreshOfAnother,
    /// A batch stores under the leases that its flights have when the load is over, rather than when it began.
    BatchTakesLateLeases,
    /// The memory store fills without its lease.
    MemoryFillsWithoutLease,
    /// The memory store does not look at tokens.
    MemoryIgnoresTokens,
    /// The memory store's globs find values only.
    MemoryGlobSparesLeases,
    /// The memory store forgets quarantines at once.
    MemoryHoldsNothing,
    /// Copies in memory are kept whatever has been invalidated since they were read.
    CopiesWithoutTicket,
    /// Leased copies in memory are served when their lease is over.
    ServesBeyondLease,
    /// The Redis store does not compare stamps.
    NoStampComparison,
    /// The Redis store takes a root of any incarnation for its own.
    NoIncarnationCheck,
    /// The Redis store trusts Redis before the journal is replayed.
    NoJournalGate,
    /// An invalidation over Redis returns without waiting for those who keep values in their own memory.
    EarlyBarrier,
    /// Who keeps values in its own memory does not notice that it has missed an announcement.
    NoGapCheck,
    /// What was kept before the first renewal over a feed's connection is kept.
    FirstLeaseKeeps,
    /// Copies that are to be served for a bounded time are served for as long as they live.
    KeepsBeyondBound,
}

#[cfg(feature = "__mutants")]
mod chosen {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Switches one check off in what this thread runs, or none.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }

    /// Whether this check is switched off.
    pub fn is(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }
}

#[cfg(feature = "__mutants")]
pub use chosen::{choose, is};

/// Whether this check is switched off.
#[cfg(not(feature = "__mutants"))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "nothing of it may be left")]
pub const fn is(_mutant: Mutant) -> bool {
    false
}
