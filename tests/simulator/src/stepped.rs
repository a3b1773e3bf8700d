//! The memory store under the schedule: every call waits for its turn, and so does every answer, now and then.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Key, Outcome, Store, Target,
    store::{Acquired, Filled, HolderId, Lease, Payload, Purpose, Read, StoreError},
};

use crate::world::World;

/// The number of the instance: over memory there is one.
const ONLY: u64 = 1;

/// A store whose calls are steps.
pub(crate) struct Stepped<S> {
    store: Arc<S>,
    world: World,
    random: Mutex<fastrand::Rng>,
}

impl<S: Store> Stepped<S> {
    pub(crate) fn new(store: Arc<S>, world: World, random: fastrand::Rng) -> Self {
        Self { store, world, random: Mutex::new(random) }
    }

    async fn step(&self, what: &'static str, key: impl std::fmt::Display) {
        self.world.step(ONLY, what).await;
        self.world.trace(|| format!("{what} {key}"));
    }

    async fn answer<T: std::fmt::Debug>(&self, answer: T) -> T {
        self.world.trace(|| format!("  answers {answer:?}"));
        if self.chance(0.3) {
            self.world.step(ONLY, "answer").await;
        }
        answer
    }

    fn chance(&self, of: f64) -> bool {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).f64() < of
    }
}

#[async_trait]
impl<S: Store> Store for Stepped<S> {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn holds_objects(&self) -> bool {
        self.store.holds_objects()
    }

    async fn read(&self, key: &Key) -> Result<Read, StoreError> {
        self.step("read", key).await;
        self.answer(self.store.read(key).await).await
    }

    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError> {
        self.step("acquire", key).await;
        self.answer(self.store.acquire(key, purpose, lasts).await).await
    }

    async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> Result<bool, StoreError> {
        self.step("renew", key).await;
        self.answer(self.store.renew(key, lease, lasts).await).await
    }

    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError> {
        self.step("fill", key).await;
        let answer = self.store.fill(key, lease, payload.clone(), ttl).await;
        if self.chance(0.1) {
            // Once more, later: whatever happened in between, it must not bring the value back.
            let (store, world) = (Arc::clone(&self.store), self.world.clone());
            let (key, lease) = (key.clone(), lease.clone());
            tokio::spawn(async move {
                world.step(ONLY, "fill again").await;
                let _ = store.fill(&key, &lease, payload, ttl).await;
            });
        }
        self.answer(answer).await
    }

    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError> {
        self.step("release", key).await;
        self.answer(self.store.release(key, lease).await).await
    }

    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError> {
        self.step("invalidate", targets.first().map_or(String::new(), ToString::to_string)).await;
        self.answer(self.store.invalidate(targets).await).await
    }

    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError> {
        self.step("hold", targets.first().map_or(String::new(), ToString::to_string)).await;
        self.answer(self.store.hold(targets, holder, lasts).await).await
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError> {
        self.step("unhold", targets.first().map_or(String::new(), ToString::to_string)).await;
        self.answer(self.store.release_hold(targets, holder).await).await
    }
}
