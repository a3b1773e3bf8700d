//! The cache: what a call of a cached function goes through.
//!
//! [`Cache`] ties a store, a stand-in for its outages, single flight and the codecs together. A cached call is the story
//! told by `Inner::fetch`; its chapters are in `cache/`.

mod batch;
mod builder;
mod call;
mod hit;
mod hold;
mod invalidate;
mod lead;
mod link;
mod look;
#[cfg(feature = "metrics")]
mod metrics;
mod near;
mod object;
mod verify;
mod warm;

use std::{
    any::Any,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use serde::{Serialize, de::DeserializeOwned};

pub use builder::CacheBuilder;
use call::{Call, Turn};
pub(crate) use hit::Chance;
pub use hold::{Hold, Unavailable};
use look::{Found, Need};
pub use warm::{CallResult, Warmed, Warmup};

use crate::{
    clock::Clock,
    codec::Values,
    degraded::StandIn,
    error::BuildError,
    events::{Announcer, Events},
    flight::{Entered, Flights},
    key::{Key, Target},
    memory::MemoryStore,
    meter::Meter,
    policy::{L1, Policy},
    stats::{Ledger, Stats},
    store::{Link, Outcome, Store},
    transaction,
};

/// A cache. Cheap to clone: clones share everything.
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use cache_core::{Cache, Key, Policy};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Infallible> {
/// let cache = Cache::memory();
/// let (key, policy) = (Key::new("square").arg(&7), Policy::new(Duration::from_secs(60)));
/// let square: u32 = cache.get_or_load(&key, &policy, || async { Ok::<_, Infallible>(49) }).await?;
/// assert_eq!(square, 49);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

/// Whether the cache's store can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// The store answers.
    Connected,
    /// The store is out of reach; the stand-in carries the service.
    Degraded {
        /// When the store went out of reach.
        since: Instant,
        /// How many invalidations wait to be replayed.
        journal: usize,
    },
    /// Embedded: there is no store but this process's memory.
    Memory,
}

/// A load's result, as generated code hands it over.
#[doc(hidden)]
#[derive(Debug)]
pub struct Loaded<T> {
    /// The value; `None` where it is known to be absent.
    pub value: Option<Arc<T>>,
    /// Whether it may be stored.
    pub store: bool,
}

pub(crate) struct Inner {
    store: Arc<dyn Store>,
    /// The store, where it is this process's memory.
    memory: Option<Arc<MemoryStore>>,
    /// Copies of what is in the store, where that is not this process's memory.
    near: Option<Arc<near::Near>>,
    l1: L1,
    stand_in: StandIn,
    values: Values,
    flights: Arc<Flights>,
    ledger: Ledger,
    announcer: Announcer,
    watch: link::LinkWatch,
    load_timeout: Duration,
    verify: f64,
    clock: Clock,
    meter: Meter,
    troubles: invalidate::Troubles,
    #[cfg(feature = "metrics")]
    publisher: metrics::Publisher,
    /// What was started for the store. Only there to be dropped with the cache.
    _guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Cache {
    /// An embedded cache of 64 MiB: this process's memory, no server.
    ///
    /// # Panics
    ///
    /// If two cached functions of this program have the same `key_prefix`; [`CacheBuilder::build`] answers an error instead.
    pub fn memory() -> Self {
        match Self::builder().build() {
            Ok(cache) => cache,
            Err(error) => panic!("{error}"),
        }
    }

    /// Connects to a store by its URL, such as `redis://127.0.0.1/0`.
    ///
    /// # Errors
    ///
    /// A malformed URL, an unknown option, a wrong password. A store that is not there is none: the cache starts degraded and joins
    /// when it can.
    pub async fn connect(url: &str) -> Result<Self, BuildError> {
        Self::builder().redis(url).connect().await
    }

    /// Connects to `STALEPROOF_URL`, else to `REDIS_URL`, else to nothing: an embedded cache. Logs which. `STALEPROOF_MODE` may say
    /// otherwise: see [`Start`](crate::Start).
    ///
    /// # Errors
    ///
    /// As [`Cache::connect`].
    pub async fn from_env() -> Result<Self, BuildError> {
        Self::builder().from_env().connect().await
    }

    /// Settings, one by one.
    pub fn builder() -> CacheBuilder {
        CacheBuilder::default()
    }

    /// The namespace of its entries, as [`CacheBuilder::namespace`] has it.
    pub fn namespace(&self) -> &str {
        self.inner.meter.namespace()
    }

    /// Makes this the cache of functions that name no other, in the place of an earlier one.
    pub fn install_global(&self) {
        GLOBAL.store(Some(Arc::clone(&self.inner)));
    }

    /// The installed cache. Without one, an embedded cache is installed, with a warning.
    pub fn global() -> Self {
        match GLOBAL.load_full() {
            Some(inner) => Self { inner },
            None => Self::install_memory(),
        }
    }

    #[cold]
    fn install_memory() -> Self {
        static INSTALLING: Mutex<()> = Mutex::new(());
        let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inner) = GLOBAL.load_full() {
            return Self { inner };
        }
        tracing::warn!("no global cache is installed: using the memory of this process");
        let cache = Self::unchecked_memory();
        // Somebody may have installed one meanwhile: that one stays.
        GLOBAL.compare_and_swap(&None::<Arc<Inner>>, Some(Arc::clone(&cache.inner)));
        GLOBAL.load_full().map_or(cache, |inner| Self { inner })
    }

    /// Returns the stored value, or loads and stores it.
    ///
    /// # Errors
    ///
    /// The loader's own, untouched. Trouble with the store is never an error.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the load; if others wait for it, one of them loads at once.
    pub async fn get_or_load<T, E, F>(&self, key: &Key, policy: &Policy, load: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        F: AsyncFnOnce() -> Result<T, E>,
    {
        let shared = self.get_or_load_shared(key, policy, async || load().await.map(Arc::new)).await?;
        Ok(Arc::unwrap_or_clone(shared))
    }

    /// [`Cache::get_or_load`] for values that are shared rather than cloned.
    pub async fn get_or_load_shared<T, E, F>(&self, key: &Key, policy: &Policy, load: F) -> Result<Arc<T>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: AsyncFnOnce() -> Result<Arc<T>, E>,
    {
        let mut chance = Chance::default();
        if let Some(hit) = self.value_hit(key, policy, &mut chance) {
            return Ok(hit);
        }
        let load = async { load().await.map(|value| Loaded { value: Some(value), store: true }) };
        match self.inner.fetch(Call::begin(&self.inner, key, policy, chance).refusing_absence(), load).await? {
            Some(value) => Ok(value),
            None => unreachable!("neither this load nor a call that refuses absence answers it"),
        }
    }

    /// [`Cache::get_or_load`] for many keys at once: one read for all, and one load for those that are missing.
    ///
    /// `load` is given where in `keys` the missing ones stand, each entry once, and answers a value for each of them in that
    /// order; `None` is known to be absent, which is stored as well. The answer is in the order of `keys`.
    ///
    /// ```
    /// use std::{convert::Infallible, time::Duration};
    /// use cache_core::{Cache, Key, Policy};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Infallible> {
    /// let (cache, policy) = (Cache::memory(), Policy::new(Duration::from_secs(60)));
    /// let numbers = [3_u32, 4, 5];
    /// let keys = numbers.map(|number| Key::new("square").arg(&number));
    /// let squares: Vec<Option<u32>> = cache
    ///     .get_or_load_many(&keys, &policy, |missing| async move {
    ///         Ok::<_, Infallible>(missing.into_iter().map(|at| Some(numbers[at] * numbers[at])).collect())
    ///     })
    ///     .await?;
    /// assert_eq!(squares, [Some(9), Some(16), Some(25)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Where others are loading some of the keys already, their values are waited for, once what falls to this call has been loaded;
    /// `load` runs again for those whose load came to nothing. A `load` that answers for another number of keys than it was
    /// asked for is an error in the log: nothing of its answer is stored, and `None` is served for all it was asked for.
    ///
    /// # Errors
    ///
    /// The loader's own, untouched, unless every value that it was asked for can be served all the same
    /// ([`Policy::stale_if_error`]). Trouble with the store is never an error.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the load; whoever waits for one of its keys loads that at once.
    pub async fn get_or_load_many<T, E, L, F>(
        &self,
        keys: &[Key],
        policy: &Policy,
        mut load: L,
    ) -> Result<Vec<Option<T>>, E>
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        L: FnMut(Vec<usize>) -> F,
        F: Future<Output = Result<Vec<Option<T>>, E>>,
    {
        let load = |missing| {
            let loading = load(missing);
            async {
                let values = loading.await?.into_iter();
                Ok(values.map(|value| Loaded { value: value.map(Arc::new), store: true }).collect())
            }
        };
        // Boxed, since it is large.
        let found = Box::pin(self.inner.fetch_batch(keys, policy, load)).await?;
        Ok(found.into_iter().map(|value| value.map(Arc::unwrap_or_clone)).collect())
    }

    /// [`Cache::get_or_load_shared`] where `None` stands for a value that is known to be absent.
    #[doc(hidden)]
    pub async fn fetch<T, E, F>(&self, key: &Key, policy: &Policy, load: F) -> Result<Option<Arc<T>>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        let mut chance = Chance::default();
        match self.hit(key, policy, &mut chance) {
            Some(found) => Ok(found),
            None => self.fetch_slowly(key, policy, chance, load).await,
        }
    }

    /// What is left to do after [`Cache::hit`] had no answer.
    pub(crate) async fn fetch_slowly<T, E, F>(
        &self,
        key: &Key,
        policy: &Policy,
        chance: Chance,
        load: F,
    ) -> Result<Option<Arc<T>>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        self.inner.fetch(Call::begin(&self.inner, key, policy, chance), load).await
    }

    /// As [`Cache::fetch`], for many keys.
    #[doc(hidden)]
    pub async fn fetch_batch<T, E, L, F>(
        &self,
        keys: &[Key],
        policy: &Policy,
        load: L,
    ) -> Result<Vec<Option<Arc<T>>>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        L: FnMut(Vec<usize>) -> F,
        F: Future<Output = Result<Vec<Loaded<T>>, E>>,
    {
        self.inner.fetch_batch(keys, policy, load).await
    }

    /// Invalidates all targets: once it has returned [`Outcome::Applied`], no instance serves or stores a value that was
    /// loaded before.
    ///
    /// # Cancellation
    ///
    /// Once polled, it runs to its end even if the future is dropped.
    ///
    /// Inside a [`transaction`](crate::transaction()) it is collected, to take effect after the commit, and the answer is
    /// [`Outcome::Journaled`].
    pub async fn invalidate(&self, targets: impl IntoIterator<Item = Target>) -> Outcome {
        match transaction::collect(self, targets.into_iter().collect()) {
            Ok(()) => Outcome::Journaled,
            Err(targets) => self.start_invalidating(targets).await,
        }
    }

    /// Invalidates every entry whose key matches a glob, such as `contract_*`: `*`, `?`, `[a-z]` and `\` over encoded keys without namespace.
    /// Over Redis this scans all keys: prefer nodes and tags.
    pub async fn invalidate_matching(&self, glob: &str) -> Outcome {
        self.invalidate([Target::Glob(glob.to_owned())]).await
    }

    /// Invalidates the namespace.
    pub async fn clear(&self) -> Outcome {
        self.invalidate([Target::All]).await
    }

    /// A snapshot of the counters.
    pub fn stats(&self) -> Stats {
        let mut stats = self.inner.ledger.snapshot();
        if let Some(near) = &self.inner.near {
            (stats.l1_entries, stats.l1_bytes) = (near.memory().entries(), near.memory().bytes());
            stats.l1_evictions = near.memory().evictions();
        }
        stats
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.inner.announcer.subscribe()
    }

    /// Leaves the instances whose copies each invalidation waits for ([`L1::Leased`]): for a service that is about to end, when it takes no
    /// more requests. One that ends without a word is missed, and the next invalidation elsewhere waits up to 1.05 s for it, once.
    ///
    /// Nothing else ends. Calls go on, and ask the store before they serve a copy. It takes a round trip, 1.05 s at most.
    ///
    /// # Cancellation
    ///
    /// Dropping the future does not undo it.
    pub async fn leave(&self) {
        self.inner.store.leave().await;
    }

    /// The store, for what is built beside the cache.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Whether the store can be reached.
    pub fn health(&self) -> Health {
        self.inner.health()
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("store", &self.inner.store.name())
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

/// The installed cache. Asked on each call of a function that names none, so asking takes no lock.
static GLOBAL: ArcSwapOption<Inner> = ArcSwapOption::const_empty();

impl Inner {
    fn health(&self) -> Health {
        match self.store.link().map(|link| *link.borrow()) {
            None => Health::Memory,
            Some(Link::Up) => Health::Connected,
            Some(Link::Down { since, journal }) => Health::Degraded { since, journal },
        }
    }

    /// A cached call, from the key to the value.
    async fn fetch<T, E, F>(&self, mut call: Call<'_>, load: F) -> Result<Option<Arc<T>>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        let mut load = pin!(load);
        if transaction::is_open() {
            return call.bypass(load).await;
        }
        loop {
            let need: Need<T> = match call.look().await {
                Found::Hit(hit) if call.is_sampled() => return Ok(call.verify(hit, load).await),
                Found::Hit(hit) => return Ok(hit.value),
                Found::Need(need) => need,
            };
            let turn = match call.enter(&need) {
                Entered::Leader(leader) => call.prepare(leader, &need).await,
                Entered::Follower(follower) => call.follow(follower, &need).await,
            };
            match turn {
                Turn::Take(value) => return Ok(value),
                Turn::Lead(leader) => return call.lead(leader, need, load.as_mut()).await,
                Turn::Again => call.begin_again(),
            }
        }
    }
}
