//! Looking a value up, and judging what was found.

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{call::Call, object};
use crate::{
    codec::Meta,
    events::Event,
    stats::Answer,
    store::{LeaseId, Payload, Purpose, Read, Stored},
};

/// A value with what the policy needs to know of it.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) value: Option<Arc<T>>,
    pub(super) meta: Meta,
}

/// What looking led to.
pub(super) enum Found<T> {
    /// A value to serve.
    Hit(Current<T>),
    /// A load is needed.
    Need(Need<T>),
}

/// Why and how to load.
pub(super) struct Need<T> {
    pub(super) want: Want,
    /// The lease of a load that the read has shown.
    pub(super) loading: Option<LeaseId>,
    /// What was found: still fresh when the refresh is early, expired otherwise.
    pub(super) current: Option<Current<T>>,
    /// The current value is good: whoever does not get the lease serves it.
    pub(super) early: bool,
}

/// A value in the store.
pub(super) struct Current<T> {
    pub(super) id: LeaseId,
    pub(super) value: Option<Arc<T>>,
}

/// Whether the loaded value is to be stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Under a lease for this purpose.
    Store(Purpose),
    /// The store is quarantined or did not answer.
    NoStore,
}

impl<T> Need<T> {
    fn load(want: Want, loading: Option<LeaseId>) -> Self {
        Self { want, loading, current: None, early: false }
    }

    /// The current value, which is there whenever the refresh is early.
    pub(super) fn serve_current(&self) -> Option<Arc<T>> {
        self.current.as_ref().and_then(|current| current.value.clone())
    }
}

impl Call<'_> {
    /// One read of the store.
    pub(super) async fn look<T>(&mut self) -> Found<T>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let nearby = self.look_nearby().await;
        let is_copy = matches!(nearby, Ok(Some(_)));
        let read = match nearby {
            Ok(Some(copy)) => Ok(Read::Hit(copy)),
            Ok(None) => match self.store.read_now(self.key) {
                Some(read) => Ok(read),
                None => self.store.read(self.key).await,
            },
            Err(error) => Err(error),
        };
        let found = match read {
            Ok(Read::Hit(stored)) => self.judge(stored),
            Ok(Read::Miss { loading }) => {
                Found::Need(Need::load(Want::Store(Purpose::Load { unreadable: None }), loading))
            }
            Ok(Read::Held) => {
                // While every call is sent to the source, none of them was held up by a writer.
                if !self.degraded || self.inner.stand_in.remembers() {
                    self.counters.held.add(1);
                    self.counters.answered_by(Answer::Held);
                }
                Found::Need(Need::load(Want::NoStore, None))
            }
            Err(_) => {
                self.counters.store_errors.add(1);
                Found::Need(Need::load(Want::NoStore, None))
            }
        };
        self.count(&found, is_copy);
        found
    }

    /// Whether a stored value can be read, and is still fresh.
    pub(super) fn judge<T>(&mut self, stored: Stored) -> Found<T>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let id = stored.id;
        let is_read = matches!(stored.payload, Payload::Bytes(_));
        let Some(entry) = self.open::<T>(stored) else {
            return Found::Need(Need::load(Want::Store(Purpose::Load { unreadable: Some(id) }), None));
        };
        if is_read {
            self.keep_copy(id, entry.value.as_ref(), entry.meta);
        }
        let early = match self.inner.left(entry.meta) {
            None => false,
            Some(Duration::ZERO) => return self.expired(id, entry),
            Some(left) => self.policy.refreshes(entry.meta.load_time, left, &mut self.chance),
        };
        if early {
            return Found::Need(Need {
                want: Want::Store(Purpose::Refresh(id)),
                loading: None,
                current: Some(Current { id, value: entry.value }),
                early: true,
            });
        }
        Found::Hit(Current { id, value: entry.value })
    }

    /// An expired value is replaced; if the load fails, it may serve within the policy's window.
    fn expired<T>(&self, id: LeaseId, entry: Entry<T>) -> Found<T> {
        let expired_for = entry
            .meta
            .fresh_until
            .and_then(|end| self.inner.clock.system_time().duration_since(end).ok())
            .unwrap_or_default();
        let serves = expired_for < self.policy.stale_if_error;
        Found::Need(Need {
            want: Want::Store(Purpose::Refresh(id)),
            loading: None,
            current: serves.then_some(Current { id, value: entry.value }),
            early: false,
        })
    }

    fn open<T>(&self, stored: Stored) -> Option<Entry<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let opened = match stored.payload {
            Payload::Bytes(bytes) => match self.inner.values.decode::<T>(&bytes, self.policy.version) {
                Ok((value, meta)) => Ok(Entry { value: value.map(Arc::new), meta }),
                Err(error) => Err(error.to_string()),
            },
            Payload::Object { meta, .. } if meta.version != self.policy.version => {
                Err("a value of another version".to_owned())
            }
            Payload::Object { value, meta, .. } => match object::take::<T>(value) {
                Some(value) => Ok(Entry { value, meta }),
                None => Err("a value of another type".to_owned()),
            },
        };
        let opened = opened.and_then(|entry| {
            if entry.value.is_none() && self.absence_refused { Err("an absence".to_owned()) } else { Ok(entry) }
        });
        match opened {
            Ok(entry) => Some(entry),
            Err(reason) => {
                self.counters.unreadable.add(1);
                let key = self.key.as_str();
                tracing::debug!(key, reason, "a stored value cannot be read and counts as a miss");
                self.inner.announcer.announce(|| Event::Unreadable { key: key.to_owned(), reason });
                None
            }
        }
    }

    /// The expired value of `need`, if nothing has invalidated or replaced it since it was read.
    pub(super) async fn still_valid<T>(&self, need: &Need<T>) -> Option<Option<Arc<T>>> {
        let current = need.current.as_ref()?;
        // What an outage left in the stand-in knows of no invalidation after it.
        if !Arc::ptr_eq(&self.store, &self.inner.store_in_charge().0) {
            return None;
        }
        let read = match self.store.read_now(self.key) {
            Some(read) => read,
            None => self.store.read(self.key).await.ok()?,
        };
        match read {
            Read::Hit(stored) if stored.id == current.id => {
                if !need.early {
                    self.counters.served_stale.add(1);
                    self.inner.announcer.announce(|| Event::ServedStale { key: self.key.as_str().to_owned() });
                }
                Some(current.value.clone())
            }
            _ => None,
        }
    }

    /// A call counts once, as a hit or as a miss, however often it looks.
    fn count<T>(&mut self, found: &Found<T>, is_copy: bool) {
        let hit = match found {
            Found::Hit(_) => true,
            Found::Need(need) => need.early,
        };
        if self.missed {
            return;
        }
        let key = || self.key.as_str().to_owned();
        if hit {
            self.counters.hits.add(1);
            if is_copy {
                self.counters.l1_hits.add(1);
            }
            let is_here = is_copy || self.store.holds_objects();
            self.counters.answered_by(if is_here { Answer::L1Hit } else { Answer::L2Hit });
            self.inner.announcer.announce(|| Event::Hit { key: key() });
        } else {
            self.counters.misses.add(1);
            self.inner.announcer.announce(|| Event::Miss { key: key() });
        }
        self.missed = true;
    }

    pub(super) fn joined(&mut self) {
        self.counters.joined.add(1);
        self.counters.answered_by(Answer::Joined);
        self.inner.announcer.announce(|| Event::Joined { key: self.key.as_str().to_owned() });
    }
}
