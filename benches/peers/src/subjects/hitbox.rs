//! hitbox on Redis through its attribute, with and without its protection against dogpiles.

use std::sync::Arc;

use hitbox::{
    Extractor as _,
    backend::Backend as _,
    concurrency::{BroadcastConcurrencyManager, ConcurrencyManager, NoopConcurrencyManager},
    policy::{ConcurrencyLimit, PolicyConfig},
};
use hitbox_fn::{Arg, Args, Cache, FnExtractor};
use hitbox_redis::{ConnectionMode, RedisBackend};

use super::{Place, Source, Subject, TTL};

#[hitbox_fn::cached(prefix = "version", skip(source))]
async fn version(space: String, key: u64, source: Arc<Source>) -> u64 {
    let _ = space;
    source.load(key).await
}

type Dogpile = BroadcastConcurrencyManager<u64>;
type NoDogpile = NoopConcurrencyManager;

#[derive(Clone)]
pub struct Hitbox<M> {
    cache: Cache<RedisBackend, M>,
    place: Place,
}

impl Hitbox<NoDogpile> {
    pub fn new(place: &Place) -> Self {
        let cache = Cache::builder().backend(backend(place)).policy(PolicyConfig::builder().ttl(TTL).build());
        Self { cache: cache.build(), place: place.clone() }
    }
}

impl Hitbox<Dogpile> {
    /// One load for each key of the process at a time.
    pub fn with_dogpile_protection(place: &Place) -> Self {
        let one = ConcurrencyLimit::new(1).expect("it is allowed");
        let policy = PolicyConfig::builder().ttl(TTL).concurrency(one).build();
        let cache = Cache::builder().backend(backend(place)).policy(policy);
        Self { cache: cache.concurrency_manager(BroadcastConcurrencyManager::new()).build(), place: place.clone() }
    }
}

fn backend(place: &Place) -> RedisBackend {
    RedisBackend::builder().connection(ConnectionMode::single(&place.url)).build().expect("a URL")
}

impl<M: ConcurrencyManager<u64> + Clone + 'static> Subject for Hitbox<M> {
    async fn read(&self, key: u64) -> u64 {
        let Place { space, source, .. } = self.place.clone();
        version(space, key, source).cache(&self.cache).await
    }

    async fn invalidate(&self, key: u64) -> bool {
        // The attribute has no invalidation: the key is put together as it does that.
        let subject = Args((Arg::new("space", self.place.space.clone()), Arg::new("key", key)));
        let (_, key) = FnExtractor::new("version").get(subject).await.into_cache_key();
        self.cache.backend().remove(&key).await.expect("Redis answers");
        true
    }
}
