//! cached through its attributes. Their caches are statics, so that each can be set up once in a process. On Redis an entry is removed by
//! `async_cache_delete`, a single `DEL`: with client-side caching `async_cache_remove` reads the old value into the copies again.

use std::sync::{Arc, OnceLock};

use cached::{AsyncRedisCache, Cached as _, ConcurrentCached as _, ConcurrentCachedAsync as _, RedisCacheError};

use super::{Place, Source, Subject, TTL};

#[cached::macros::concurrent_cached(max_size = 4096, ttl_secs = 600, key = "u64", convert = "{ key }")]
async fn in_memory(key: u64, source: &Source) -> u64 {
    source.load(key).await
}

#[cached::macros::cached(max_size = 4096, ttl_secs = 600, key = "u64", convert = "{ key }", sync_writes = true)]
async fn under_one_lock(key: u64, source: &Source) -> u64 {
    source.load(key).await
}

/// Where the statics on Redis are.
static PLACE: OnceLock<(String, String)> = OnceLock::new();

async fn store(kind: &str, tracking: bool) -> AsyncRedisCache<u64, u64> {
    let (url, space) = PLACE.get().expect("a place was named");
    let store = AsyncRedisCache::builder(format!("{space}-{kind}")).ttl(TTL).connection_string(url);
    store.client_side_caching(tracking).build().await.expect("Redis is there")
}

#[cached::macros::concurrent_cached(
    ty = "AsyncRedisCache<u64, u64>",
    create = r#"{ store("plain", false).await }"#,
    key = "u64",
    convert = "{ key }",
    map_error = "|error| error"
)]
async fn on_redis(key: u64, source: &Source) -> Result<u64, RedisCacheError> {
    Ok(source.load(key).await)
}

#[cached::macros::concurrent_cached(
    ty = "AsyncRedisCache<u64, u64>",
    create = r#"{ store("tracking", true).await }"#,
    key = "u64",
    convert = "{ key }",
    map_error = "|error| error"
)]
async fn tracking(key: u64, source: &Source) -> Result<u64, RedisCacheError> {
    Ok(source.load(key).await)
}

/// `#[concurrent_cached]` in memory.
#[derive(Clone)]
pub struct CachedInMemory(pub Arc<Source>);

impl Subject for CachedInMemory {
    async fn read(&self, key: u64) -> u64 {
        in_memory(key, &self.0).await
    }

    async fn invalidate(&self, key: u64) -> bool {
        if let Some(cache) = IN_MEMORY.get() {
            let _removed = cache.cache_remove(&key);
        }
        true
    }
}

/// `#[cached(sync_writes = true)]`: one lock, which is held while any value is loaded.
#[derive(Clone)]
pub struct CachedUnderOneLock(pub Arc<Source>);

impl Subject for CachedUnderOneLock {
    async fn read(&self, key: u64) -> u64 {
        under_one_lock(key, &self.0).await
    }

    async fn invalidate(&self, key: u64) -> bool {
        let _removed = UNDER_ONE_LOCK.write().await.cache_remove(&key);
        true
    }
}

/// `#[concurrent_cached]` on Redis.
#[derive(Clone)]
pub struct CachedOnRedis(Arc<Source>);

impl CachedOnRedis {
    pub fn new(place: &Place) -> Self {
        PLACE.get_or_init(|| (place.url.clone(), place.space.clone()));
        Self(Arc::clone(&place.source))
    }
}

impl Subject for CachedOnRedis {
    async fn read(&self, key: u64) -> u64 {
        on_redis(key, &self.0).await.expect("Redis answers")
    }

    async fn invalidate(&self, key: u64) -> bool {
        if let Some(cache) = ON_REDIS.get() {
            cache.async_cache_delete(&key).await.expect("Redis answers");
        }
        true
    }
}

/// The same with copies in memory, which Redis tracks (`client_side_caching`).
#[derive(Clone)]
pub struct CachedTracking(Arc<Source>);

impl CachedTracking {
    pub fn new(place: &Place) -> Self {
        PLACE.get_or_init(|| (place.url.clone(), place.space.clone()));
        Self(Arc::clone(&place.source))
    }
}

impl Subject for CachedTracking {
    async fn read(&self, key: u64) -> u64 {
        tracking(key, &self.0).await.expect("Redis answers")
    }

    async fn invalidate(&self, key: u64) -> bool {
        if let Some(cache) = TRACKING.get() {
            cache.async_cache_delete(&key).await.expect("Redis answers");
        }
        true
    }
}
