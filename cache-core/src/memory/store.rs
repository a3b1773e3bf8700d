//! The memory store as a [`Store`]: every step is done at once, and only a walk lets others run in between.

use std::time::Duration;

use async_trait::async_trait;

use super::{MemoryStore, sweep::Sweep};
use crate::{
    inspect::Inspect,
    key::{Key, Target},
    store::{Acquired, Filled, HolderId, Lease, NotHoldable, Outcome, Payload, Purpose, Read, Store, StoreError},
};

#[async_trait]
impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn holds_objects(&self) -> bool {
        true
    }

    fn read_now(&self, key: &Key) -> Option<Read> {
        Some(self.get(key))
    }

    async fn read(&self, key: &Key) -> Result<Read, StoreError> {
        Ok(self.get(key))
    }

    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError> {
        Ok(self.grant_unless_held(key, purpose, lasts))
    }

    async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> Result<bool, StoreError> {
        Ok(self.renew_now(key, lease, lasts))
    }

    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError> {
        Ok(self.fill_now(key, lease, payload, ttl))
    }

    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError> {
        self.release_now(key, lease);
        Ok(())
    }

    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError> {
        finish(self.invalidate_but_sweep(targets)).await;
        Ok(Outcome::Applied)
    }

    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError> {
        if !targets.iter().all(Target::can_be_held) {
            return Err(StoreError::Failed(Box::new(NotHoldable)));
        }
        self.hold_now(targets, holder, lasts);
        Ok(())
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError> {
        // In this order, a load that begins as soon as it may is not invalidated again.
        let sweeps = self.invalidate_but_sweep(targets);
        self.holds.remove(targets, holder);
        finish(sweeps).await;
        Ok(Outcome::Applied)
    }
}

async fn finish(sweeps: Vec<Sweep<'_>>) {
    for mut sweep in sweeps {
        while sweep.step() {
            tokio::task::yield_now().await;
        }
    }
}
