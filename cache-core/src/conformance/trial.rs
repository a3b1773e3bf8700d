//! The words in which cases are written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use super::Boxed;
use crate::{
    Key, Outcome, Store, Target,
    store::{Acquired, Filled, Lease, LeaseId, Payload, Purpose, Read, Stored},
};

/// Long enough never to pass during a case.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// Short enough to wait for. On a store with a clock of its own, calls must take less than this.
pub(super) const SHORT: Duration = Duration::from_millis(150);

pub(super) const LOAD: Purpose = Purpose::Load { unreadable: None };

/// One run of one case.
pub struct Trial<'a> {
    pub(super) store: Arc<dyn Store>,
    name: &'static str,
    /// Unique: the case's keys are below it and its tags begin with it.
    prefix: String,
    pass: &'a (dyn Fn(Duration) -> Boxed<'static, ()> + Send + Sync),
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        name: &'static str,
        store: Arc<dyn Store>,
        pass: &'a (dyn Fn(Duration) -> Boxed<'static, ()> + Send + Sync),
    ) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        Self { store, name, prefix: format!("conformance-{:016x}-{run}", fastrand::u64(..)), pass }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A key of no arguments.
    pub(super) fn root(&self) -> Key {
        Key::new(&self.prefix)
    }

    /// A key of two arguments: `prefix:name:1`.
    pub(super) fn key(&self, name: &str) -> Key {
        self.root().arg(name).arg(&1)
    }

    pub(super) fn tag(&self, name: &str) -> crate::Tag {
        crate::Tag::new(&format!("{}:{name}", self.prefix))
    }

    /// A glob below the prefix.
    pub(super) fn glob(&self, rest: &str) -> Target {
        Target::Glob(format!("{}{rest}", self.prefix))
    }

    /// Lets a bit more than `span` pass.
    pub(super) async fn pass(&self, span: Duration) {
        (self.pass)(span + span / 3).await;
    }

    #[track_caller]
    pub(super) fn check(&self, holds: bool, what: &str) {
        assert!(holds, "{what} ({}, store {})", self.name, self.store.name());
    }

    pub(super) async fn read(&self, key: &Key) -> Read {
        self.store.read(key).await.expect("a read is answered")
    }

    pub(super) async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Acquired {
        self.store.acquire(key, purpose, lasts).await.expect("an acquire is answered")
    }

    /// A lease to load, which the store has to grant.
    pub(super) async fn lease(&self, key: &Key, lasts: Duration) -> Lease {
        match self.acquire(key, LOAD, lasts).await {
            Acquired::Lease(lease) => {
                self.check(lease.replaces.is_none(), "a lease to load replaces nothing");
                lease
            }
            other => panic!("a lease is granted where nothing valid stands, not {other:?} ({})", self.name),
        }
    }

    /// A lease to replace the value `id`, which the store has to grant.
    pub(super) async fn refresh(&self, key: &Key, id: LeaseId, lasts: Duration) -> Lease {
        match self.acquire(key, Purpose::Refresh(id), lasts).await {
            Acquired::Lease(lease) => {
                self.check(lease.replaces == Some(id), "a refresh lease names the value that it replaces");
                self.check(lease.id != id, "a refresh lease has a name of its own");
                lease
            }
            other => panic!("a refresh lease is granted beside its value, not {other:?} ({})", self.name),
        }
    }

    pub(super) async fn fill(&self, key: &Key, lease: &Lease, bytes: impl AsRef<[u8]>, ttl: Duration) -> Filled {
        let payload = Payload::Bytes(Bytes::copy_from_slice(bytes.as_ref()));
        self.store.fill(key, lease, payload, ttl).await.expect("a fill is answered")
    }

    /// Stores a value by lease and fill.
    pub(super) async fn put(&self, key: &Key, bytes: impl AsRef<[u8]>) -> LeaseId {
        let lease = self.lease(key, LONG).await;
        let filled = self.fill(key, &lease, bytes, LONG).await;
        self.check(filled == Filled::Stored, "a fill under a good lease is stored");
        lease.id
    }

    pub(super) async fn invalidate(&self, targets: &[Target]) {
        let outcome = self.store.invalidate(targets).await.expect("an invalidation is answered");
        self.check(outcome == Outcome::Applied, "an invalidation of a store within reach is applied");
    }

    pub(super) async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> bool {
        self.store.renew(key, lease, lasts).await.expect("a renewal is answered")
    }

    pub(super) async fn release(&self, key: &Key, lease: &Lease) {
        self.store.release(key, lease).await.expect("a release is answered");
    }

    pub(super) async fn expect_hit(&self, key: &Key, bytes: impl AsRef<[u8]>, why: &str) -> LeaseId {
        if let Some(Read::Miss { .. } | Read::Held) = self.store.read_now(key) {
            panic!("a hit also for who does not wait: {why} ({})", self.name);
        }
        match self.read(key).await {
            Read::Hit(stored) => {
                self.check(bytes_of(&stored) == bytes.as_ref(), why);
                stored.id
            }
            other => panic!("{why}: expected a hit, read {other:?} ({})", self.name),
        }
    }

    /// A miss. `loading`: the lease that stands there.
    pub(super) async fn expect_miss(&self, key: &Key, loading: Option<LeaseId>, why: &str) {
        if let Some(Read::Hit(_)) = self.store.read_now(key) {
            panic!("a miss also for who does not wait: {why} ({})", self.name);
        }
        match self.read(key).await {
            Read::Miss { loading: seen } => {
                assert_eq!(seen, loading, "{why}: the lease that a miss reports ({})", self.name);
            }
            other => panic!("{why}: expected a miss, read {other:?} ({})", self.name),
        }
    }

    /// The fill is refused.
    pub(super) async fn expect_refused(&self, key: &Key, lease: &Lease, why: &str) {
        let filled = self.fill(key, lease, "must not be stored", LONG).await;
        self.check(filled == Filled::Refused, why);
    }

    pub(super) async fn expect_wait(&self, key: &Key, purpose: Purpose, leader: LeaseId, why: &str) {
        match self.acquire(key, purpose, LONG).await {
            Acquired::Wait { lease: id, .. } => {
                self.check(id == leader, "who waits is told the lease that stands there");
            }
            other => panic!("{why}: expected to wait, got {other:?} ({})", self.name),
        }
    }

    pub(super) async fn expect_gone(&self, key: &Key, id: LeaseId, why: &str) {
        match self.acquire(key, Purpose::Refresh(id), LONG).await {
            Acquired::Gone => {}
            other => panic!("{why}: expected nothing to refresh, got {other:?} ({})", self.name),
        }
    }
}

impl std::fmt::Debug for Trial<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(super) fn bytes_of(stored: &Stored) -> &[u8] {
    match &stored.payload {
        Payload::Bytes(bytes) => bytes,
        Payload::Object { .. } => panic!("bytes were stored, an object came back"),
    }
}
