//! staleproof through its attribute, with the defaults: copies in memory that are validated.

use std::sync::Arc;

use staleproof::{Cache, L1, Outcome, cached, keys};

use super::{Place, Source, Subject};

#[derive(Clone)]
pub struct Ours {
    cache: Cache,
    source: Arc<Source>,
}

impl Ours {
    #[cached(ttl = "10m", key_prefix = "version")]
    async fn version(&self, key: u64) -> u64 {
        self.source.load(key).await
    }

    pub fn in_memory(place: &Place) -> Self {
        Self { cache: Cache::memory(), source: Arc::clone(&place.source) }
    }

    /// One instance of a service.
    pub async fn on_redis(place: &Place, l1: L1) -> Self {
        let cache = Cache::builder().namespace(&place.space).redis(&place.url).l1(l1).connect().await;
        Self { cache: cache.expect("Redis is there"), source: Arc::clone(&place.source) }
    }
}

impl Subject for Ours {
    async fn read(&self, key: u64) -> u64 {
        self.version(key).await
    }

    async fn invalidate(&self, key: u64) -> bool {
        self.cache.invalidate(keys![Self::version(key)]).await == Outcome::Applied
    }
}
