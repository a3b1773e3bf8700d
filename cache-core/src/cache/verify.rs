//! Verification: a share of the hits is loaded as well, and compared.
//!
//! A difference counts only if no invalidation explains it: a write may have committed whose invalidation has not come yet. So
//! a value that differs is looked at once more after [`GRACE`]; it is a mismatch if it is still there then.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{Loaded, call::Call, look::Current};
use crate::{
    codec::Values,
    events::Event,
    store::{LeaseId, Read},
};

/// How long a writer may take from its commit to its invalidation.
const GRACE: Duration = Duration::from_secs(1);

impl Call<'_> {
    /// Whether this hit is one of those to verify. In an outage none is: writes of other instances are not heard of, which no
    /// invalidation would change.
    pub(super) fn is_sampled(&mut self) -> bool {
        !self.degraded && self.inner.samples(self.policy, &mut self.chance)
    }

    /// Loads beside the hit and compares. Serves what was loaded; the hit if the load fails.
    pub(super) async fn verify<T, E, F>(&self, hit: Current<T>, load: Pin<&mut F>) -> Option<Arc<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        match load.await {
            Ok(loaded) => self.compare(&hit, loaded),
            Err(_) => hit.value,
        }
    }

    /// Compares what was loaded with the hit, and serves it.
    pub(super) fn compare<T>(&self, hit: &Current<T>, loaded: Loaded<T>) -> Option<Arc<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.counters.verified.add(1);
        let same = match (&hit.value, &loaded.value) {
            (Some(stored), Some(loaded)) => Values::same::<T>(stored, loaded).unwrap_or(true),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.watch(hit.id);
        }
        loaded.value
    }

    /// Reports the hit if it is still there when any invalidation under way must have come.
    fn watch(&self, id: LeaseId) {
        let (store, key, counters) = (Arc::clone(&self.store), self.key.clone(), Arc::clone(&self.counters));
        let announcer = self.inner.announcer.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            let read = match store.read_now(&key) {
                Some(read) => Ok(read),
                None => store.read(&key).await,
            };
            if matches!(read, Ok(Read::Hit(stored)) if stored.id == id) {
                counters.mismatched.add(1);
                let key = key.as_str();
                if let Some(kept_back) = counters.mismatch.may_say() {
                    tracing::error!(
                        key,
                        kept_back,
                        "a stored value is not what its source says: a write does not invalidate it"
                    );
                }
                announcer.announce(|| Event::Mismatched { key: key.to_owned() });
            }
        });
    }
}
