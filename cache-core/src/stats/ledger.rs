//! The counters of one cache, by function.
//!
//! A function that is known before `main` has a [`Slot`], by which its counters are found without a lock or a look at its
//! name. Its hits in memory, the one thing that happens often enough to matter, are counted in stripes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{Counters, FunctionStats, Invalidations, Stats, stripes::Stripes};
use crate::{key::Key, registry, store::Outcome};

/// How many functions are told apart. Programs have hundreds; keys made by hand may begin with anything, and must not make
/// the ledger grow without end.
const FUNCTIONS: usize = 4_096;

/// Stands for the functions beyond that. No prefix is spelt like it.
const OTHERS: &str = "(others)";

/// Where a function's counters are, in every cache's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    /// Of a key made by hand: its counters are found by the prefix.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// One that nobody has.
    pub(crate) fn next() -> Self {
        static GIVEN: AtomicU32 = AtomicU32::new(0);
        Self(GIVEN.fetch_add(1, Ordering::Relaxed))
    }

    #[inline]
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// The counters of one cache.
#[derive(Debug)]
pub(crate) struct Ledger {
    functions: RwLock<HashMap<String, Arc<Counters>>>,
    /// The same by slot, as far as they were asked for.
    by_slot: Box<[OnceLock<Arc<Counters>>]>,
    /// Hits that were answered by memory at once, by slot.
    quick: Stripes,
    /// These are hits of copies.
    of_copies: bool,
    pub(crate) invalidations: Invalidations,
}

impl Ledger {
    /// With a slot for each cached function of the program.
    /// `of_copies`: what memory answers at once are copies of what is in a store.
    pub(crate) fn new(of_copies: bool) -> Self {
        // A function may declare itself in two places: where it is called and where it is named.
        Self::with_slots(2 * registry::count(), of_copies)
    }

    fn with_slots(slots: usize, of_copies: bool) -> Self {
        Self {
            functions: RwLock::default(),
            by_slot: (0..slots).map(|_| OnceLock::new()).collect(),
            quick: Stripes::new(slots),
            of_copies,
            invalidations: Invalidations::default(),
        }
    }

    /// The counters of a key's function.
    pub(crate) fn of(&self, key: &Key) -> Arc<Counters> {
        match self.by_slot.get(key.slot().index()) {
            Some(slot) => Arc::clone(slot.get_or_init(|| self.by_name(key.prefix()))),
            None => self.by_name(key.prefix()),
        }
    }

    /// Counts a hit that memory answered at once.
    #[inline]
    pub(crate) fn quick_hit(&self, key: &Key) {
        let slot = key.slot().index();
        match self.by_slot.get(slot) {
            // Without its counters the slot would have no name.
            Some(counters) if counters.get().is_some() => self.quick.add(slot),
            _ => self.of(key).quick.add(1),
        }
    }

    fn by_name(&self, function: &str) -> Arc<Counters> {
        if let Some(counters) = self.functions.read().unwrap_or_else(PoisonError::into_inner).get(function) {
            return Arc::clone(counters);
        }
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        let is_full = functions.len() >= FUNCTIONS && !functions.contains_key(function);
        let name = if is_full { OTHERS } else { function };
        Arc::clone(functions.entry(name.to_owned()).or_insert_with(|| Arc::new(Counters::named(name))))
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let mut quick: HashMap<*const Counters, u64> = HashMap::new();
        for (slot, hits) in self.by_slot.iter().zip(self.quick.sums()) {
            if let Some(counters) = slot.get() {
                *quick.entry(Arc::as_ptr(counters)).or_default() += hits;
            }
        }
        let named = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        let snapshot = |counters: &Arc<Counters>| {
            let mut stats = counters.snapshot();
            let quick = quick.get(&Arc::as_ptr(counters)).copied().unwrap_or(0) + counters.quick.get();
            stats.hits += quick;
            stats.requests.l1_hits += quick;
            if self.of_copies {
                stats.l1_hits += quick;
            }
            stats
        };
        let functions: BTreeMap<_, _> =
            named.iter().map(|(name, counters)| (name.clone(), snapshot(counters))).collect();
        let mut total = FunctionStats::default();
        for stats in functions.values() {
            total += *stats;
        }
        Stats {
            functions,
            total,
            invalidations_applied: self.invalidations.sum(Outcome::Applied),
            invalidations_journaled: self.invalidations.sum(Outcome::Journaled),
            ..Stats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Start;

    #[test]
    fn keys_made_by_hand_do_not_make_the_ledger_grow_without_end() {
        let ledger = Ledger::with_slots(0, false);
        for number in 0..3 * FUNCTIONS {
            ledger.of(&Key::new(&number.to_string())).hits.add(1);
        }
        ledger.of(&Key::new("0")).hits.add(1);
        let stats = ledger.snapshot();
        assert_eq!(stats.functions.len(), FUNCTIONS + 1);
        assert_eq!((stats.functions["0"].hits, stats.functions[OTHERS].hits), (2, 2 * FUNCTIONS as u64));
        assert_eq!(stats.total.hits, 3 * FUNCTIONS as u64 + 1);
    }

    #[test]
    fn a_function_has_one_row_whichever_way_its_keys_were_made() {
        let ledger = Ledger::with_slots(2, false);
        let of_slot = |slot| Start::of_prefix("f", Slot(slot)).key();
        for key in [of_slot(0), of_slot(1), of_slot(2), Key::new("f")] {
            for _ in 0..3 {
                ledger.quick_hit(&key.clone().arg(&7));
            }
        }
        let stats = ledger.snapshot();
        assert_eq!(stats.functions.len(), 1);
        assert_eq!((stats.functions["f"].hits, stats.total.hits), (12, 12));
    }

    #[test]
    fn no_hit_is_lost_among_many_threads() {
        let ledger = Ledger::with_slots(3, false);
        let keys: Vec<_> = (0..3).map(|slot| Start::of_prefix(&format!("f{slot}"), Slot(slot)).key()).collect();
        // In turn, so that threads take over what others have left.
        for _ in 0..4 {
            std::thread::scope(|scope| {
                for _ in 0..super::super::stripes::SEATS + 8 {
                    scope.spawn(|| (0..100).for_each(|_| keys.iter().for_each(|key| ledger.quick_hit(key))));
                }
            });
        }
        let expected = 4 * (super::super::stripes::SEATS as u64 + 8) * 100;
        let stats = ledger.snapshot();
        assert!(stats.functions.values().all(|function| function.hits == expected), "{stats}");
    }
}
