//! A source of truth whose loads can be stopped half-way, and a service over it.
#![allow(dead_code, reason = "each test file uses what it needs")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use staleproof::{Cache, cached};
use tokio::sync::{Notify, watch};

/// A version that writers raise, and the number of loads that read it.
pub(crate) struct Source {
    version: AtomicU64,
    loads: AtomicUsize,
    open: watch::Sender<bool>,
    reached: Notify,
}

impl Source {
    pub(crate) fn new() -> Arc<Self> {
        let (open, _) = watch::channel(true);
        Arc::new(Self { version: AtomicU64::new(1), loads: AtomicUsize::new(0), open, reached: Notify::new() })
    }

    /// From now on loads stop after they have read.
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    /// Lets all loads go on, those that stopped and those to come.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until a load has read and stopped.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn write(&self) -> u64 {
        self.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    async fn load(&self) -> u64 {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let seen = self.version.load(Ordering::SeqCst);
        self.reached.notify_one();
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("the source outlives its loads");
        seen
    }
}

/// A service whose one method reads the source.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) cache: Cache,
    pub(crate) source: Arc<Source>,
}

impl Service {
    pub(crate) fn new(cache: Cache, source: &Arc<Source>) -> Self {
        Self { cache, source: Arc::clone(source) }
    }

    #[cached(ttl = "1m", key_prefix = "paged", tags("owner:{owner}"))]
    pub(crate) async fn page(&self, owner: u32, page: &str) -> u64 {
        self.source.load().await
    }
}
