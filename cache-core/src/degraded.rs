//! What carries the service while the store is out of reach.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;

use crate::{
    clock::Clock,
    key::{Key, Target},
    memory::MemoryStore,
    store::{Acquired, Filled, HolderId, Lease, Outcome, Payload, Purpose, Read, Store, StoreError},
};

/// What carries the service while the store is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Degraded {
    /// The memory of this process, each value for at most `max_ttl`, since invalidations of other instances do not
    /// arrive. The default, with 10 seconds.
    Memory {
        /// The longest that a value loaded in degraded mode is served, and so how stale another instance's write can leave it.
        max_ttl: Duration,
    },
    /// The source: every call loads. Only callers that begin before a load does share it: without a store nothing shows that an older load is
    /// still good.
    Bypass,
}

impl Default for Degraded {
    fn default() -> Self {
        Self::Memory { max_ttl: Duration::from_secs(10) }
    }
}

/// The store that stands in during an outage.
///
/// Each outage gets a fresh one. What was stored in an earlier outage may have been invalidated by others since, and a load
/// that began in one must not fill the next.
#[derive(Debug)]
pub(crate) struct StandIn {
    mode: Degraded,
    memory_limit: usize,
    clock: Clock,
    current: Mutex<Option<(Instant, Arc<dyn Store>)>>,
}

impl std::fmt::Debug for dyn Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.name())
    }
}

impl StandIn {
    pub(crate) fn new(mode: Degraded, memory_limit: usize, clock: Clock) -> Self {
        Self { mode, memory_limit, clock, current: Mutex::new(None) }
    }

    /// Whether it is a memory, and not the source.
    pub(crate) fn remembers(&self) -> bool {
        self.mode != Degraded::Bypass
    }

    /// The longest TTL of what it stores.
    pub(crate) fn max_ttl(&self) -> Duration {
        match self.mode {
            Degraded::Memory { max_ttl } => max_ttl,
            Degraded::Bypass => Duration::ZERO,
        }
    }

    /// The stand-in for the outage that began at `since`.
    pub(crate) fn during(&self, since: Instant) -> Arc<dyn Store> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some((began, store)) if *began == since => Arc::clone(store),
            _ => {
                let store: Arc<dyn Store> = match self.mode {
                    Degraded::Memory { .. } => Arc::new(MemoryStore::with_clock(self.memory_limit, self.clock.clone())),
                    Degraded::Bypass => Arc::new(NoStore),
                };
                *current = Some((since, Arc::clone(&store)));
                store
            }
        }
    }

    /// The stand-in that is in use, or was last.
    pub(crate) fn latest(&self) -> Option<Arc<dyn Store>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, store)| Arc::clone(store))
    }

    /// Frees what the outage left.
    pub(crate) fn end(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Remembers nothing.
#[derive(Debug)]
pub(crate) struct NoStore;

#[async_trait]
impl Store for NoStore {
    fn name(&self) -> &'static str {
        "none"
    }

    fn read_now(&self, _key: &Key) -> Option<Read> {
        Some(Read::Held)
    }

    async fn read(&self, _key: &Key) -> Result<Read, StoreError> {
        Ok(Read::Held)
    }

    async fn acquire(&self, _key: &Key, _purpose: Purpose, _lasts: Duration) -> Result<Acquired, StoreError> {
        Ok(Acquired::Held)
    }

    async fn renew(&self, _key: &Key, _lease: &Lease, _lasts: Duration) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn fill(&self, _key: &Key, _lease: &Lease, _payload: Payload, _ttl: Duration) -> Result<Filled, StoreError> {
        Ok(Filled::Refused)
    }

    async fn release(&self, _key: &Key, _lease: &Lease) -> Result<(), StoreError> {
        Ok(())
    }

    async fn invalidate(&self, _targets: &[Target]) -> Result<Outcome, StoreError> {
        Ok(Outcome::Applied)
    }

    async fn hold(&self, _targets: &[Target], _holder: HolderId, _lasts: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn release_hold(&self, _targets: &[Target], _holder: HolderId) -> Result<Outcome, StoreError> {
        Ok(Outcome::Applied)
    }
}
