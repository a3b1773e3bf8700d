//! Loading, and storing what was loaded.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{task::JoinHandle, time::Instant};
use tracing::{Instrument as _, Span};

use super::{
    Loaded,
    call::{Call, LEASE, RENEWAL},
    look::Need,
    object,
};
use crate::{
    codec::Meta,
    events::Event,
    flight::Leader,
    stats::Answer,
    store::{Filled, Lease, Payload},
    trace,
};

/// Renews leases until it is dropped.
pub(super) struct Renewal(JoinHandle<()>);

impl Renewal {
    /// In a task of its own; without a runtime leases lapse.
    pub(super) fn spawn(renewing: impl Future<Output = ()> + Send + 'static) -> Option<Self> {
        Some(Self(tokio::runtime::Handle::try_current().ok()?.spawn(renewing)))
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a load in its span, which ends with it.
pub(super) async fn traced<T, E>(span: Span, load: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let mut load = pin!(load.instrument(span));
    let result = load.as_mut().await;
    if result.is_err() {
        trace::failed::<E>(load.span());
    }
    result
}

impl Call<'_> {
    /// Inside a transaction: the source, and nothing stored.
    pub(super) async fn bypass<T, E, F>(&mut self, load: Pin<&mut F>) -> Result<Option<Arc<T>>, E>
    where
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        self.bypassed();
        load.await.map(|loaded| loaded.value)
    }

    pub(super) fn bypassed(&mut self) {
        self.counters.bypassed.add(1);
        self.counters.answered_by(Answer::Bypassed);
    }

    /// Runs the load and stores its value, under the lease if there is one.
    pub(super) async fn lead<T, E, F>(
        &self,
        leader: Leader,
        need: Need<T>,
        load: Pin<&mut F>,
    ) -> Result<Option<Arc<T>>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        let lease = leader.lease();
        let renewal = self.renewing(lease.as_ref());
        if renewal.is_some() {
            // What a worker has just spawned no other can take: it has to begin before a load blocks the worker.
            tokio::task::yield_now().await;
        }
        let started = Instant::now();
        let result = traced(trace::load(self.key.prefix(), 1), load).await;
        let took = started.elapsed();
        self.inner.meter.loaded(self.counters.name(), took, result.is_ok());
        self.loaded(took, took, result.is_ok());
        match result {
            Ok(Loaded { value, store }) => {
                leader.land(Arc::new(value.clone()), lease.as_ref().map(|lease| lease.id));
                if let Some(lease) = lease {
                    self.fill(&lease, value.as_ref(), store, took).await;
                    leader.let_go(lease.id);
                }
                // Not earlier: encoding a large value takes its time too.
                drop(renewal);
                Ok(value)
            }
            Err(error) => {
                drop(renewal);
                self.counters.load_errors.add(1);
                if let Some(unused) = leader.fail() {
                    self.give_back(&unused).await;
                }
                // Never one that was invalidated: what expired is looked at again before it serves.
                self.still_valid(&need).await.ok_or(error)
            }
        }
    }

    /// Keeps the lease alive while the load runs: in a task of its own, since a load may block the thread that polls it.
    /// Until the lease is lost, or the load has taken so long that others may start their own.
    fn renewing(&self, lease: Option<&Lease>) -> Option<Renewal> {
        // The lease in memory is as long as a load may take.
        let lease = lease.filter(|_| !self.store.holds_objects())?.clone();
        let (store, key, counters) = (Arc::clone(&self.store), self.key.clone(), Arc::clone(&self.counters));
        let deadline = Instant::now() + self.inner.load_timeout;
        Renewal::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL).await;
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                match store.renew(&key, &lease, LEASE.min(left)).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(_) => counters.store_errors.add(1),
                }
            }
        })
    }

    pub(super) async fn fill<T>(&self, lease: &Lease, value: Option<&Arc<T>>, wanted: bool, took: Duration)
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        if !wanted {
            self.counters.not_cached.add(1);
            return self.give_back(lease).await;
        }
        let (fresh, kept) = self.lifetimes(value.is_none());
        let needs_end = kept > fresh || self.policy.refresh_ahead.is_some();
        // The end of what is in memory is known there.
        let end = (needs_end || !self.store.holds_objects()).then(|| self.inner.clock.system_time() + fresh);
        let (fresh_until, expires) = if needs_end { (end, None) } else { (None, end) };
        let meta = Meta { fresh_until, expires, load_time: took, ..Meta::default() };
        let Some(payload) = self.payload(value, meta) else {
            return self.give_back(lease).await;
        };
        let key = || self.key.as_str().to_owned();
        match self.store.fill(self.key, lease, payload, kept).await {
            Ok(Filled::Stored) => {
                self.keep_filled(lease, value, meta);
                self.counters.fills.add(1);
                if lease.replaces.is_some() {
                    self.counters.refreshed.add(1);
                }
                self.inner.announcer.announce(|| Event::Filled { key: key(), ttl: fresh });
            }
            Ok(Filled::Refused) => {
                self.counters.refused.add(1);
                self.inner.announcer.announce(|| Event::Refused { key: key() });
            }
            Err(_) => {
                self.counters.unstored.add(1);
                self.counters.store_errors.add(1);
            }
        }
    }

    fn payload<T>(&self, value: Option<&Arc<T>>, meta: Meta) -> Option<Payload>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        if self.store.holds_objects() {
            let weight = value.map_or(0, |value| crate::codec::Values::weigh::<T>(value));
            let meta = Meta { version: self.policy.version, pinned: self.policy.pin, ..meta };
            return Some(Payload::Object { value: object::of(value), meta, weight });
        }
        match self.inner.values.encode(value.map(|value| &**value), meta, self.policy.version) {
            Ok(bytes) => Some(Payload::Bytes(bytes)),
            Err(error) => {
                let function = self.key.prefix();
                // Once per function: it would be every call's.
                if self.counters.unencodable.is_first() {
                    tracing::warn!(function, %error, "a loaded value cannot be stored");
                } else {
                    tracing::debug!(function, %error, "a loaded value cannot be stored");
                }
                None
            }
        }
    }

    /// How long the value is fresh, and how long it is kept.
    fn lifetimes(&self, absent: bool) -> (Duration, Duration) {
        let (fresh, kept) = self.policy.lifetimes(absent);
        if self.degraded {
            let most = self.inner.stand_in.max_ttl();
            return (fresh.min(most), kept.min(most));
        }
        (fresh, kept)
    }

    async fn give_back(&self, lease: &Lease) {
        if self.store.release(self.key, lease).await.is_err() {
            self.counters.store_errors.add(1);
        }
    }

    /// Counts a load; `share` is how much of the time is this entry's.
    pub(super) fn loaded(&self, took: Duration, share: Duration, ok: bool) {
        self.counters.loaded(share);
        self.inner.announcer.announce(|| Event::Loaded { key: self.key.as_str().to_owned(), took, ok });
    }
}
