//! What the calls of the servers came to.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::store::Traffic;

/// One of the counts.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the calls of one store's servers came to, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) round_trips: Count,
    pub(crate) timeouts: Count,
    pub(crate) losses: Count,
    pub(crate) fences: Count,
    pub(crate) replayed: Count,
}

impl Counts {
    pub(crate) fn traffic(&self) -> Traffic {
        let mut traffic = Traffic::default();
        traffic.round_trips = self.round_trips.get();
        traffic.timeouts = self.timeouts.get();
        traffic.losses = self.losses.get();
        traffic.fences = self.fences.get();
        traffic.replayed = self.replayed.get();
        traffic
    }
}
