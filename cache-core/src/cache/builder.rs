//! Settings of a cache.

mod start;

use std::{
    any::Any,
    future::Future as _,
    path::PathBuf,
    sync::{Arc, Weak},
    task::{Context, Waker},
    time::Duration,
};

use super::{Cache, Inner, invalidate::Troubles, link::LinkWatch, near::Near};
use crate::{
    clock::Clock,
    codec::{Codec, Values},
    connect::{self, ConnectSpec, Started},
    degraded::{Degraded, StandIn},
    error::BuildError,
    events::Announcer,
    flight::Flights,
    key::Key,
    memory::MemoryStore,
    meter::Meter,
    policy::{L1, MAX_TTL},
    registry,
    start::{LocalServer, Start},
    stats::Ledger,
    store::{Lease, Store},
};

/// Settings of a cache, one by one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache_core::BuildError> {
/// let cache = cache_core::Cache::builder().memory_limit(16 << 20).build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `connect` or `build`"]
pub struct CacheBuilder {
    url: Option<String>,
    store: Option<Arc<dyn Store>>,
    namespace: String,
    memory_limit: usize,
    degraded: Degraded,
    values: Values,
    load_timeout: Duration,
    call_timeout: Option<Duration>,
    require: bool,
    journal_file: Option<PathBuf>,
    verify: f64,
    l1: L1,
    clock: Clock,
    start: Option<Start>,
    asks_environment: bool,
    local_server: LocalServer,
}

impl Default for CacheBuilder {
    fn default() -> Self {
        Self {
            url: None,
            store: None,
            namespace: "staleproof".to_owned(),
            memory_limit: 64 << 20,
            degraded: Degraded::default(),
            values: Values::default(),
            load_timeout: Duration::from_secs(10),
            call_timeout: None,
            require: false,
            journal_file: None,
            verify: 0.0,
            l1: L1::Validated,
            clock: Clock::System,
            start: None,
            asks_environment: false,
            local_server: LocalServer::new(),
        }
    }
}

impl CacheBuilder {
    /// What goes in front of every key: 1 to 64 characters of `A-Z`, `a-z`, `0-9`, `_`, `.`, `-`. By default `staleproof`.
    /// Instances that share a namespace share their entries.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The store's URL: `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS. With sentinels
    /// `redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db]`, of a cluster
    /// `redis+cluster://[user:password@]host[:port][,host[:port]…]`.
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// A store of your own.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// The URL in `STALEPROOF_URL`, else in `REDIS_URL`, else none: embedded. Logs which. An empty variable counts as unset.
    /// `STALEPROOF_MODE` is asked, too: see [`CacheBuilder::start`].
    pub fn from_env(mut self) -> Self {
        self.asks_environment = true;
        self.url = start::url_of_environment();
        if self.url.is_none() {
            tracing::info!(
                "neither STALEPROOF_URL nor REDIS_URL is set: without STALEPROOF_MODE the cache is this process's memory"
            );
        }
        self
    }

    /// What is done with copies in this process's memory, in front of a store that others share, unless a function says otherwise.
    /// [`L1::Validated`] by default. Without such a store there are no copies.
    pub fn l1(mut self, mode: L1) -> Self {
        self.l1 = mode;
        self
    }

    /// The most that this process's memory holds, in bytes. 64 MiB by default. In front of a store that others share half of it is for
    /// copies, half for the stand-in during an outage. A value that is larger than a shard of it is not kept, and loaded or read
    /// each time: a shard is the part of the memory divided by a power of two of up to four times the cores, and 2 MiB at least.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// What carries the service while the store is out of reach. By default memory, for at most 10 seconds a value.
    pub fn degraded(mut self, degraded: Degraded) -> Self {
        self.degraded = degraded;
        self
    }

    /// How values are encoded. By default [`Auto`](crate::codec::Auto).
    pub fn codec(mut self, codec: impl Codec) -> Self {
        self.values = self.values.codec(codec);
        self
    }

    /// How long callers wait for another's load before they load themselves, and how long a load may take and still be stored. 10
    /// seconds by default.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.load_timeout = timeout;
        self
    }

    /// The bound on each call to the store. 50 ms by default.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// Verifies this share of all hits (0 to 1): the loader runs as well, and the values are compared; see
    /// [`Policy::verify`](crate::Policy::verify). 0 by default.
    pub fn verify(mut self, share: f64) -> Self {
        self.verify = share;
        self
    }

    /// Where the time comes from, for tests that move it by hand.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// A store that cannot be reached is an error of [`CacheBuilder::connect`], rather than a start in degraded mode.
    pub fn require_redis(mut self) -> Self {
        self.require = true;
        self
    }

    /// Also keeps in this file the invalidations that the store has not acknowledged, so that a crash during an outage loses none:
    /// [`Outcome::Journaled`](crate::Outcome::Journaled) is returned when it is on the disk, and the next process on this file
    /// replays it before it trusts the store. The file is for one instance at a time, to another one it is an error; it is made where there is none. By default
    /// they are in memory only.
    ///
    /// It needs a store by a URL: memory is gone with its process.
    pub fn journal_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal_file = Some(path.into());
        self
    }

    /// Builds an embedded cache, or one over [a store of your own](CacheBuilder::store).
    ///
    /// # Errors
    ///
    /// Two functions with one `key_prefix`, a setting out of its range, or a URL, which needs [`CacheBuilder::connect`].
    pub fn build(self) -> Result<Cache, BuildError> {
        self.check()?;
        match self.mode()? {
            None => self.build_in_process(),
            Some(Start::Memory) => self.in_memory(),
            Some(_) => {
                Err(BuildError::Setting("a cache that starts as `auto` or `external` is built by `connect().await`"))
            }
        }
    }

    fn build_in_process(self) -> Result<Cache, BuildError> {
        if self.url.is_some() {
            return Err(BuildError::Setting("a cache with a URL is built by `connect().await`"));
        }
        if self.journal_file.is_some() {
            return Err(BuildError::Setting("a journal file is for a store that is given by a URL"));
        }
        let store = self.store.clone().unwrap_or_else(|| self.memory());
        Ok(self.over(Started::new(store, None)))
    }

    /// Opens the store and builds the cache. Without a URL, as [`CacheBuilder::build`].
    ///
    /// # Errors
    ///
    /// Also a malformed URL, an unknown option, a wrong password, a `STALEPROOF_MODE` that does not exist. A store that is not there is no error unless it is
    /// [required](CacheBuilder::require_redis).
    pub async fn connect(self) -> Result<Cache, BuildError> {
        self.check()?;
        match self.mode()? {
            Some(mode) => self.start_as(mode).await,
            None if self.url.is_some() => self.open().await,
            None if self.require && self.store.is_none() => {
                Err(BuildError::Setting("Redis is required, but no URL is given"))
            }
            None => self.build_in_process(),
        }
    }

    async fn open(self) -> Result<Cache, BuildError> {
        let store = connect::open(self.spec()).await?;
        Ok(self.over(Started::new(store, None)))
    }

    fn spec(&self) -> ConnectSpec {
        ConnectSpec {
            url: self.url.clone().unwrap_or_default(),
            namespace: self.namespace.clone(),
            call_timeout: self.call_timeout,
            require: self.require,
            journal_file: self.journal_file.clone(),
        }
    }

    fn check(&self) -> Result<(), BuildError> {
        registry::check()?;
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !(1..=64).contains(&self.namespace.len()) || !self.namespace.chars().all(usable) {
            return Err(BuildError::Namespace { namespace: self.namespace.clone() });
        }
        if self.load_timeout.is_zero() || self.call_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(BuildError::Setting("a timeout of zero would fail every call"));
        }
        if !(0.0..=1.0).contains(&self.verify) {
            return Err(BuildError::Setting("the share of hits to verify lies between 0 and 1"));
        }
        Ok(())
    }

    fn memory(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::with_clock(self.memory_limit, self.clock.clone()))
    }

    fn over(self, started: Started) -> Cache {
        let Started { store, guard } = started;
        let memory: Option<Arc<MemoryStore>> = (Arc::clone(&store) as Arc<dyn Any + Send + Sync>).downcast().ok();
        let share = if memory.is_some() { self.memory_limit } else { self.memory_limit / 2 };
        let near = memory.is_none().then(|| Arc::new(Near::new(share, self.clock.clone())));
        let inner = Arc::new_cyclic(|inner: &Weak<Inner>| Inner {
            flights: flights(Weak::clone(inner)),
            stand_in: StandIn::new(self.degraded, share, self.clock.clone()),
            memory,
            ledger: Ledger::new(near.is_some()),
            near,
            l1: self.l1,
            store,
            values: self.values,
            announcer: Announcer::new(),
            watch: LinkWatch::new(Weak::clone(inner)),
            // More is as good as for ever, and a time so far off cannot be told.
            load_timeout: self.load_timeout.min(MAX_TTL),
            verify: self.verify,
            clock: self.clock,
            meter: Meter::new(&self.namespace),
            troubles: Troubles::default(),
            #[cfg(feature = "metrics")]
            publisher: super::metrics::Publisher::new(Weak::clone(inner)),
            _guard: guard,
        });
        inner.watch.ensure(&inner.store);
        #[cfg(feature = "metrics")]
        {
            crate::meter::publish::enlist(inner.meter.namespace(), Arc::downgrade(&inner));
            inner.publisher.ensure();
        }
        Cache { inner }
    }
}

impl Cache {
    /// An embedded cache whatever the registry says: the global one, which comes into being inside a cached call.
    pub(super) fn unchecked_memory() -> Self {
        let builder = Self::builder();
        let store = builder.memory();
        builder.over(Started::new(store, None))
    }
}

/// The flights of a cache. A lease that a caller left behind is given back: at once where memory gave it, which answers
/// without waiting and outside of a runtime too; in the background otherwise.
fn flights(inner: Weak<Inner>) -> Arc<Flights> {
    Flights::new(move |key, lease| {
        let Some(inner) = inner.upgrade() else { return };
        // Whichever store gave the lease; to the others it is unknown and changes nothing.
        for store in [Some(Arc::clone(&inner.store)), inner.stand_in.latest()].into_iter().flatten() {
            give_back(store, key.clone(), lease.clone());
        }
    })
}

pub(super) fn give_back(store: Arc<dyn Store>, key: Key, lease: Lease) {
    let in_process = store.holds_objects();
    let mut release = Box::pin(async move {
        // Without an answer it lapses.
        let _ = store.release(&key, &lease).await;
    });
    let mut context = Context::from_waker(Waker::noop());
    if in_process && release.as_mut().poll(&mut context).is_ready() {
        return;
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(release);
    }
}
