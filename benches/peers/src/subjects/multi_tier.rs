//! multi-tier-cache: moka in front of Redis, and invalidations that the other instances are told of by Redis' Pub/Sub.

use std::sync::Arc;

use multi_tier_cache::{CacheManager, CacheStrategy, InvalidationConfig, L1Cache, L2Cache, MokaCacheConfig};

use super::{Place, Subject, TTL};

#[derive(Clone)]
pub struct MultiTier {
    cache: Arc<CacheManager>,
    place: Place,
}

impl MultiTier {
    /// One instance of a service.
    pub async fn new(place: &Place) -> Self {
        let memory = Arc::new(L1Cache::new(MokaCacheConfig::default()).expect("a configuration"));
        let redis = Arc::new(L2Cache::with_url(&place.url).await.expect("Redis is there"));
        let told =
            InvalidationConfig { channel: format!("{}:invalidate", place.space), ..InvalidationConfig::default() };
        let cache = CacheManager::new_with_invalidation(memory, redis, &place.url, told).await;
        Self { cache: Arc::new(cache.expect("Redis is there")), place: place.clone() }
    }

    fn name(&self, key: u64) -> String {
        format!("{}:{key}", self.place.space)
    }
}

impl Subject for MultiTier {
    async fn read(&self, key: u64) -> u64 {
        let load = || async { Ok(self.place.source.load(key).await) };
        let strategy = CacheStrategy::Custom(TTL);
        self.cache.get_or_compute_typed(&self.name(key), strategy, load).await.expect("Redis answers")
    }

    async fn invalidate(&self, key: u64) -> bool {
        self.cache.invalidate(&self.name(key)).await.expect("Redis answers");
        true
    }
}
