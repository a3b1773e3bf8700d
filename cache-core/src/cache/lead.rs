//! Loading, and storing what was loaded.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    Loaded,
    call::{Call, LEASE},
    look::{Entry, Need},
};
use crate::{
    codec::Meta,
    events::Event,
    flight::Leader,
    store::{Filled, Lease, Payload},
};

impl Call<'_> {
    /// Inside a transaction: the source, and nothing stored.
    pub(super) async fn bypass<T, E, F>(&self, load: Pin<&mut F>) -> Result<Option<Arc<T>>, E>
    where
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        self.counters.bypassed.add(1);
        load.await.map(|loaded| loaded.value)
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
        let started = Instant::now();
        let result = self.load_renewing(lease.as_ref(), load).await;
        let took = started.elapsed();
        self.loaded(took, result.is_ok());
        match result {
            Ok(Loaded { value, store }) => {
                leader.land(Arc::new(value.clone()));
                if let Some(lease) = lease {
                    self.fill(&lease, value.as_ref(), store, took).await;
                    leader.let_go(lease.id);
                }
                Ok(value)
            }
            Err(error) => {
                self.counters.load_errors.add(1);
                if let Some(unused) = leader.fail() {
                    self.give_back(&unused).await;
                }
                // Never one that was invalidated: what expired is looked at again before it serves.
                self.still_valid(&need).await.ok_or(error)
            }
        }
    }

    /// Polls the load, and keeps the lease alive meanwhile.
    async fn load_renewing<R>(&self, lease: Option<&Lease>, load: Pin<&mut impl Future<Output = R>>) -> R {
        let mut load = load;
        let mut renew = pin!(async {
            if let Some(lease) = lease {
                self.renew_while_loading(lease).await;
            }
            pending::<()>().await;
        });
        poll_fn(|context| {
            // Renewing never ends; it is polled for what it does.
            let loaded = load.as_mut().poll(context);
            if loaded.is_pending() {
                let _ = renew.as_mut().poll(context);
            }
            loaded
        })
        .await
    }

    /// Until the lease is lost, or the load has taken so long that others may start their own.
    async fn renew_while_loading(&self, lease: &Lease) {
        let deadline = Instant::now() + self.inner.load_timeout;
        while Instant::now() < deadline {
            tokio::time::sleep(LEASE / 4).await;
            match self.store.renew(self.key, lease, LEASE).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => self.counters.store_errors.add(1),
            }
        }
    }

    async fn fill<T>(&self, lease: &Lease, value: Option<&Arc<T>>, wanted: bool, took: Duration)
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        if !wanted {
            self.counters.not_cached.add(1);
            return self.give_back(lease).await;
        }
        let (fresh, kept) = self.lifetimes(value.is_none());
        let needs_end = kept > fresh || self.policy.refresh_ahead.is_some();
        let fresh_until = needs_end.then(|| self.inner.clock.system_time() + fresh);
        let Some(payload) = self.payload(value, Meta { fresh_until, load_time: took }) else {
            return self.give_back(lease).await;
        };
        let key = || self.key.as_str().to_owned();
        match self.store.fill(self.key, lease, payload, kept).await {
            Ok(Filled::Stored) => {
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
            Err(_) => self.counters.store_errors.add(1),
        }
    }

    fn payload<T>(&self, value: Option<&Arc<T>>, meta: Meta) -> Option<Payload>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        if self.store.holds_objects() {
            let weight = value.map_or(0, |value| crate::codec::Values::weigh::<T>(value));
            return Some(Payload::Object { value: Arc::new(Entry { value: value.cloned(), meta }), weight });
        }
        match self.inner.values.encode(value.map(|value| &**value), meta, self.policy.version) {
            Ok(bytes) => Some(Payload::Bytes(bytes)),
            Err(error) => {
                self.counters.unencodable.add(1);
                tracing::warn!(function = self.key.prefix(), %error, "a loaded value cannot be stored");
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

    fn loaded(&self, took: Duration, ok: bool) {
        self.counters.loaded(took);
        self.inner.announcer.announce(|| Event::Loaded { key: self.key.as_str().to_owned(), took, ok });
    }
}
