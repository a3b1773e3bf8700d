//! What must not be evicted, bounded: a share of a shard's room.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The room for what is pinned in one shard.
pub(super) struct Pins {
    limit: u64,
    taken: AtomicU64,
}

/// Room taken, until this is dropped.
pub(super) struct Pin {
    pins: Arc<Pins>,
    weight: u64,
}

impl Pins {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicU64::new(0) })
    }

    /// `None`: there is not as much room left.
    pub(super) fn take(self: &Arc<Self>, weight: u64) -> Option<Arc<Pin>> {
        let grown = |taken: u64| taken.checked_add(weight).filter(|&sum| sum <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).ok()?;
        Some(Arc::new(Pin { pins: Arc::clone(self), weight }))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins.taken.fetch_sub(self.weight, Ordering::Relaxed);
    }
}
