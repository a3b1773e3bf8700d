//! When a cache's counters are published.
//!
//! Nothing is recorded on a hit. A task publishes what was counted, every [`EVERY`]; it begins with the cache or, where that was built
//! outside of a runtime, with the first call that is no hit in memory, and begins anew on the next runtime when its own has ended. A
//! host that renders the metrics itself asks for the latest right before.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use super::{Cache, Health, Inner, link::Running, near::Near};
use crate::{
    memory::MemoryStore,
    meter::publish::{self, Figures, Now},
};

/// How often the counters are published.
const EVERY: Duration = Duration::from_secs(5);

pub(super) struct Publisher {
    inner: Weak<Inner>,
    is_running: Arc<AtomicBool>,
}

impl Publisher {
    pub(super) fn new(inner: Weak<Inner>) -> Self {
        Self { inner, is_running: Arc::default() }
    }

    /// Begins to publish, unless a task does or the caller is on no runtime.
    pub(super) fn ensure(&self) {
        if self.is_running.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (inner, running) = (Weak::clone(&self.inner), Running(Arc::clone(&self.is_running)));
        runtime.spawn(async move {
            let _running = running;
            loop {
                let Some(namespace) = inner.upgrade().map(|inner| Arc::clone(inner.meter.namespace())) else { return };
                publish::publish(&namespace);
                tokio::time::sleep(EVERY).await;
            }
        });
    }
}

impl Cache {
    /// Publishes the counters to the recorder of the `metrics` crate at once, together with those of other caches of this namespace.
    /// For who renders the metrics right after; a task does it every 5 seconds anyway. The names are in `docs/OPERATIONS.md`.
    pub fn publish_metrics(&self) {
        publish::publish(self.inner.meter.namespace());
    }
}

impl Inner {
    /// What this cache has counted, and what is so now.
    pub(crate) fn figures(&self) -> Figures {
        let memory = self.here();
        let (journal, degraded) = match self.health() {
            Health::Degraded { journal, .. } => (journal as u64, 1),
            Health::Connected | Health::Memory => (0, 0),
        };
        let now = Now {
            entries: memory.map_or(0, |memory| memory.entries() as u64),
            bytes: memory.map_or(0, MemoryStore::bytes),
            journal,
            degraded,
        };
        Figures { now, ..self.counted() }
    }

    /// Without a look at the store's link, which would begin to keep it once more: for the end as well.
    fn counted(&self) -> Figures {
        let (outages, degraded_for) = self.watch.outages();
        let invalidations = self.ledger.invalidations.all();
        Figures {
            functions: self.ledger.snapshot().functions,
            invalidations: invalidations.map(|(kind, outcome, count)| ((kind, outcome.name()), count)).collect(),
            evictions: self.here().map_or(0, MemoryStore::evictions),
            outages,
            degraded_for,
            traffic: self.store.traffic().map(|traffic| (self.store.name(), traffic)).into_iter().collect(),
            now: Now::default(),
        }
    }

    /// What is in this process's memory.
    fn here(&self) -> Option<&MemoryStore> {
        self.memory.as_deref().or(self.near.as_deref().map(Near::memory))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        publish::retire(self.meter.namespace(), self.counted());
    }
}
