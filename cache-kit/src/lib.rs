//! What a service keeps in Redis beside its cache, as small typed blocks on the cache's own connection: [states](States) (sessions,
//! dialogues, drafts), [one-time codes](Codes), [limits](Limiter), [locks](Locks), [topics](Topic), [jobs](Jobs), [places](Places).
//!
//! [`Kit::of`] takes a [`Cache`]: over Redis all instances share what is kept, without it each has its own memory. When Redis is out of
//! reach the service goes on, and every block says what it then promises:
//!
//! | block | while Redis is out of reach |
//! |---|---|
//! | [`States`] | what this instance has seen or written; writings are written back, unless somebody else wrote meanwhile |
//! | [`Codes`] | codes issued meanwhile are accepted, once, by the instance that issued them |
//! | [`Limiter`] | each instance counts for itself |
//! | [`Locks`] | each instance for itself, or an error, as the lock is set up; [`Guard::scope`] says which it is |
//! | [`Topic`] | subscribers in this process hear what it publishes; others are told of the [gap](Heard::Gap) |
//! | [`Jobs`] | wait until Redis is back, then catch up |
//! | [`Places`] | what this instance has written or has been given; changes are written back |
//!
//! ```
//! use std::time::Duration;
//!
//! use cache_core::Cache;
//! use cache_kit::{Kit, States};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), cache_kit::StateError> {
//! let kit = Kit::of(&Cache::memory());
//! let drafts: States<u64, String> = kit.states("draft").ttl(Duration::from_secs(30 * 60)).build();
//! drafts.put(&7, &"half a sentence".to_owned()).await?;
//! assert_eq!(drafts.take(&7).await?.as_deref(), Some("half a sentence"));
//! assert_eq!(drafts.take(&7).await?, None);
//! # Ok(())
//! # }
//! ```
//!
//! Keys in Redis are `<namespace>#<block>:…`, which no invalidation of the cache touches. All but places expire, and all are evicted as everything is where
//! `maxmemory-policy` is `allkeys-…`: a Redis that keeps sessions needs room for them.
//!
//! With the feature `metrics`, what the blocks do is published through the `metrics` crate; `docs/OPERATIONS.md` has the names. A call whose caller dropped it counts as
//! `cancelled`.

mod backend;
#[cfg(feature = "axum")]
pub mod bridge;
mod code;
mod geo;
mod job;
mod limit;
mod lock;
mod memory;
mod meter;
mod place;
mod redis;
mod state;
mod topic;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use cache_core::{
    Cache, Clock, Key, KeyPart,
    store::{Link, StoreError},
};
use tokio::sync::watch;

pub use self::{
    code::{Codes, Verdict},
    job::{JobError, JobReport, Jobs, Run, Schedule},
    limit::{Decision, Limiter, Quota},
    lock::{Guard, LockError, Locks},
    place::{Near, PlaceError, Places},
    state::{Owned, StateBuilder, StateError, StateKey, States},
    topic::{Heard, Subscription, Topic, TopicError},
};
use backend::{At, Backend};
#[cfg(feature = "tower")]
pub use limit::layer;
use memory::Memory;
use meter::Meter;
use place::Unsent;
use topic::Hub;

/// For whom something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// For all instances.
    Everywhere,
    /// For this instance: Redis was out of reach.
    ThisInstance,
}

/// Longer times are cut, so that they can be added to others.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Makes the blocks. Cheap to clone.
#[derive(Clone)]
pub struct Kit {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Where things are kept.
    main: Arc<dyn Backend>,
    /// Where they are while that is out of reach; none where it is memory already.
    stand_in: Option<Memory>,
    link: Option<watch::Receiver<Link>>,
    meter: Meter,
    /// What waits to be sent, of all places.
    unsent: Mutex<HashMap<At, Arc<Unsent>>>,
    /// Who hears topics.
    hubs: Mutex<HashMap<At, Weak<Hub>>>,
}

impl Kit {
    /// On the cache's connection and in its namespace; in memory for a cache in memory, or over a store that is not Redis.
    pub fn of(cache: &Cache) -> Self {
        Self::with_clock(cache, Clock::System)
    }

    /// [`Kit::of`], with the time from a clock where things are in memory: for tests.
    pub fn with_clock(cache: &Cache, clock: Clock) -> Self {
        let (main, stand_in, link) = match redis::Redis::over(cache.store()) {
            Some(redis) => (Arc::new(redis) as Arc<dyn Backend>, Some(Memory::new(clock)), cache.store().link()),
            None => (Arc::new(Memory::new(clock)) as Arc<dyn Backend>, None, None),
        };
        let meter = Meter::new(cache.namespace());
        let (unsent, hubs) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { main, stand_in, link, meter, unsent, hubs }) }
    }

    /// Typed values with an end.
    pub fn states(&self, name: &str) -> StateBuilder {
        StateBuilder::new(self.clone(), name)
    }

    /// Codes that are accepted once. Inside of a Tokio runtime, where the cache is over Redis.
    pub fn codes(&self, name: &str) -> Codes {
        Codes::new(self, name)
    }

    /// A limit on how often something is done.
    pub fn limiter(&self, name: &str, quota: Quota) -> Limiter {
        Limiter::new(self.clone(), name, quota)
    }

    /// Locks that one holder has at a time.
    pub fn locks(&self, name: &str) -> Locks {
        Locks::new(self.clone(), name)
    }

    /// Messages to all instances.
    pub fn topic<T>(&self, name: &str) -> Topic<T> {
        Topic::new(self.clone(), name)
    }

    /// Points by id.
    pub fn places<I>(&self, name: &str) -> Places<I> {
        Places::new(self.clone(), name)
    }

    /// Work that is done by one instance at a time. Inside of a Tokio runtime, where the cache is over Redis.
    pub fn jobs(&self) -> Jobs {
        Jobs::new(self)
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.inner.meter
    }

    pub(crate) fn main(&self) -> &dyn Backend {
        &*self.inner.main
    }

    /// Where to go for now, if `error` says that the main one is out of reach.
    pub(crate) fn instead(&self, error: StoreError) -> Result<&Memory, StoreError> {
        self.inner.stand_in.as_ref().ok_or(error)
    }

    /// What waits to be sent to these places.
    pub(crate) fn unsent(&self, at: &At) -> Arc<Unsent> {
        let mut all = self.inner.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(at) {
            all.retain(|_, unsent| Arc::strong_count(unsent) > 1);
        }
        Arc::clone(all.entry(at.clone()).or_default())
    }

    pub(crate) fn hubs(&self) -> MutexGuard<'_, HashMap<At, Weak<Hub>>> {
        self.inner.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of the link to Redis from now on.
    pub(crate) fn link(&self) -> Option<watch::Receiver<Link>> {
        let mut link = self.inner.link.clone()?;
        link.mark_unchanged();
        Some(link)
    }

    /// Waits until Redis is in reach. `false`: there is none, or the cache is gone.
    pub(crate) async fn back(&self) -> bool {
        let Some(mut link) = self.inner.link.clone() else { return false };
        link.wait_for(|link| *link == Link::Up).await.is_ok()
    }

    /// Waits until Redis goes out of reach. `false`: there is none, or the cache is gone.
    pub(crate) async fn away(&self) -> bool {
        let Some(mut link) = self.inner.link.clone() else { return false };
        link.wait_for(|link| *link != Link::Up).await.is_ok()
    }

    /// Whether what is kept is in reach.
    pub(crate) fn is_up(&self) -> bool {
        self.inner.link.as_ref().is_none_or(|link| *link.borrow() == Link::Up)
    }

    pub(crate) fn is_redis(&self) -> bool {
        self.inner.link.is_some()
    }
}

impl std::fmt::Debug for Kit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kit").field("is_redis", &self.is_redis()).finish_non_exhaustive()
    }
}

/// Where something of a block is kept: each by itself. The caller chooses the type of the key: the number 7 and the text `7` are two.
fn at<K: KeyPart + ?Sized>(block: &str, name: &str, key: &K) -> At {
    let name = Key::new(block).arg(name).arg_of_any_type(key).as_str().to_owned();
    At { place: name.clone(), name }
}
