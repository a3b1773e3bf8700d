//! The caches as the race and the crowd ask them: in front of a source whose values have versions.
//!
//! Each is set up as its own documentation shows, in the file named after it.

mod by_hand;
mod cached;
mod hitbox;
mod memory;
mod multi_tier;
mod ours;

use std::{
    future::Future,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use by_hand::ByHand;
pub use cached::{CachedInMemory, CachedOnRedis, CachedTracking, CachedUnderOneLock};
pub use hitbox::Hitbox;
pub use memory::{Foyer, Moka, QuickCache};
pub use multi_tier::MultiTier;
pub use ours::Ours;

/// A cache under test: reads through it, and invalidates.
pub trait Subject: Clone + Send + Sync + 'static {
    /// The version that a reader gets.
    fn read(&self, key: u64) -> impl Future<Output = u64> + Send;

    /// Invalidates, and says whether that is in force everywhere.
    fn invalidate(&self, key: u64) -> impl Future<Output = bool> + Send;
}

/// Where a subject lives: the server, a name that nobody else uses there, and the source behind it.
#[derive(Clone)]
pub struct Place {
    pub url: String,
    pub space: String,
    pub source: Arc<Source>,
}

/// What is cached: a version for each key. Its loader reads that at once and takes its time afterwards.
pub struct Source {
    versions: Vec<AtomicU64>,
    loads: AtomicU64,
    micros: Range<u64>,
}

impl Source {
    /// So many keys; a load takes as long as one of these numbers of microseconds says.
    pub fn new(keys: u64, micros: Range<u64>) -> Arc<Self> {
        let versions = (0..keys).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { versions, loads: AtomicU64::new(0), micros })
    }

    /// The newest version.
    pub fn version(&self, key: u64) -> u64 {
        self.of(key).load(Ordering::SeqCst)
    }

    /// Writes a new one.
    pub fn write(&self, key: u64) -> u64 {
        self.of(key).fetch_add(1, Ordering::SeqCst) + 1
    }

    /// How often it was loaded from.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    /// The loader.
    pub async fn load(&self, key: u64) -> u64 {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let seen = self.version(key);
        tokio::time::sleep(Duration::from_micros(fastrand::u64(self.micros.clone()))).await;
        seen
    }

    fn of(&self, key: u64) -> &AtomicU64 {
        &self.versions[usize::try_from(key).expect("a small number")]
    }
}

/// How long everything is kept: longer than any run.
const TTL: Duration = Duration::from_secs(600);
