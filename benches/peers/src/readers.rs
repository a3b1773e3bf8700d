//! The caches on Redis as the closed loop asks them, all for [the same rows](crate::rows). One connection each.

use std::sync::{Arc, LazyLock};

use cached::{AsyncRedisCache, RedisCacheError};
use fred::interfaces::{ClientLike as _, KeysInterface as _};
use hitbox::policy::PolicyConfig;
use hitbox_redis::{ConnectionMode, RedisBackend};
use multi_tier_cache::{CacheManager, CacheStrategy, CacheTier, L2Cache, serialization::CacheSerializer};
use redis::{AsyncCommands as _, aio::MultiplexedConnection};
use staleproof::{Cache, L1};
use test_support::{shared_url, unique};

use crate::{Row, Rows, closed_loop::Reader, rows};

const TTL: std::time::Duration = std::time::Duration::from_secs(900);

/// Names of this run only.
static SPACE: LazyLock<String> = LazyLock::new(|| unique("hit"));

fn name(key: u64) -> String {
    format!("{}:{key}:active", *SPACE)
}

/// What the redis crate is asked for.
#[derive(Clone, Copy)]
pub enum Raw {
    Ping,
    /// `GET`, and nothing done with the bytes.
    Get,
    /// `GET` and postcard.
    Decoded,
}

/// The redis crate by hand.
#[derive(Clone)]
pub struct ByHand(MultiplexedConnection, Raw);

impl ByHand {
    pub async fn new(what: Raw) -> Self {
        let client = redis::Client::open(shared_url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is there");
        for key in 0..crate::closed_loop::KEYS {
            let () = connection.set_ex(name(key), encoded(), TTL.as_secs()).await.expect("SET");
        }
        Self(connection, what)
    }
}

fn encoded() -> Vec<u8> {
    postcard::to_stdvec(&rows()).expect("rows encode")
}

fn decoded(bytes: &[u8]) -> usize {
    postcard::from_bytes::<Vec<Row>>(bytes).expect("rows decode").len()
}

impl Reader for ByHand {
    async fn read(&mut self, key: u64) -> usize {
        if let Raw::Ping = self.1 {
            let () = self.0.ping().await.expect("PING");
            return 20;
        }
        let bytes: Vec<u8> = self.0.get(name(key)).await.expect("GET");
        if let Raw::Get = self.1 { 20 } else { decoded(&bytes) }
    }
}

/// fred by hand, with its defaults; it reads what [`ByHand`] has stored.
#[derive(Clone)]
pub struct Fred(fred::clients::Client);

impl Fred {
    pub async fn new() -> Self {
        let config = fred::types::config::Config::from_url(&shared_url()).expect("a URL");
        let client = fred::types::Builder::from_config(config).build().expect("a client");
        client.init().await.expect("Redis is there");
        Self(client)
    }
}

impl Reader for Fred {
    async fn read(&mut self, key: u64) -> usize {
        let bytes: Vec<u8> = self.0.get(name(key)).await.expect("GET");
        decoded(&bytes)
    }
}

/// The loader of all of them.
fn loaded(owner: u64, kind: &str) -> Vec<Row> {
    let _ = (owner, kind);
    rows()
}

async fn store(kind: &str, tracking: bool) -> AsyncRedisCache<String, Vec<Row>> {
    let store = AsyncRedisCache::builder(format!("{}-{kind}", *SPACE)).ttl(TTL).connection_string(&shared_url());
    store.client_side_caching(tracking).build().await.expect("Redis is there")
}

#[cached::macros::concurrent_cached(
    ty = "AsyncRedisCache<String, Vec<Row>>",
    create = r#"{ store("plain", false).await }"#,
    key = "String",
    convert = r#"{ format!("{owner}:{kind}") }"#,
    map_error = "|error| error"
)]
async fn cached_rows(owner: u64, kind: &str) -> Result<Vec<Row>, RedisCacheError> {
    Ok(loaded(owner, kind))
}

#[cached::macros::concurrent_cached(
    ty = "AsyncRedisCache<String, Vec<Row>>",
    create = r#"{ store("tracking", true).await }"#,
    key = "String",
    convert = r#"{ format!("{owner}:{kind}") }"#,
    map_error = "|error| error"
)]
async fn tracked_rows(owner: u64, kind: &str) -> Result<Vec<Row>, RedisCacheError> {
    Ok(loaded(owner, kind))
}

/// cached through its attribute, encoded as it does that.
#[derive(Clone)]
pub enum Cached {
    Plain,
    /// With copies of the bytes in memory, which Redis tracks (`client_side_caching`).
    Tracking,
}

impl Reader for Cached {
    async fn read(&mut self, key: u64) -> usize {
        let rows = match self {
            Self::Plain => cached_rows(key, "active").await,
            Self::Tracking => tracked_rows(key, "active").await,
        };
        rows.expect("Redis answers").len()
    }
}

#[hitbox_fn::cached]
async fn hitbox_rows(owner: u64, kind: String) -> Vec<Row> {
    loaded(owner, &kind)
}

/// hitbox through its attribute, with its default for Redis, bincode.
#[derive(Clone)]
pub struct Hitbox(hitbox_fn::Cache<RedisBackend>);

impl Hitbox {
    pub fn new() -> Self {
        let backend = RedisBackend::builder().connection(ConnectionMode::single(shared_url())).build().expect("a URL");
        let policy = PolicyConfig::builder().ttl(TTL).build();
        Self(hitbox_fn::Cache::builder().backend(backend).policy(policy).build())
    }
}

impl Default for Hitbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader for Hitbox {
    async fn read(&mut self, key: u64) -> usize {
        hitbox_rows(key, "active".to_owned()).cache(&self.0).await.len()
    }
}

/// multi-tier-cache with Redis as its only tier, and bincode instead of JSON.
#[derive(Clone)]
pub struct OneTier(Arc<CacheManager>);

impl OneTier {
    pub async fn new() -> Self {
        let redis = L2Cache::with_url(&shared_url()).await.expect("Redis is there");
        let tier = CacheTier::new(Arc::new(redis), 1, false, 1, 1.0);
        let mut cache = CacheManager::new_with_tiers(vec![tier], None).expect("one tier");
        cache.set_serializer(CacheSerializer::Bincode(Default::default()));
        Self(Arc::new(cache))
    }
}

impl Reader for OneTier {
    async fn read(&mut self, key: u64) -> usize {
        let name = format!("{}:tier:{key}:active", *SPACE);
        let load = || async { Ok(rows()) };
        let rows = self.0.get_or_compute_typed::<Vec<Row>, _, _>(&name, CacheStrategy::Custom(TTL), load).await;
        rows.expect("Redis answers").len()
    }
}

/// staleproof through its attribute.
#[derive(Clone)]
pub struct Ours {
    cache: Cache,
}

impl Ours {
    #[staleproof::cached(ttl = "15m", key_prefix = "rows")]
    async fn rows(&self, owner: u64, kind: &str) -> Rows {
        Arc::new(loaded(owner, kind))
    }

    pub async fn new(mode: L1) -> Self {
        let cache = Cache::builder().namespace(unique("hit")).redis(shared_url()).l1(mode).connect().await;
        Self { cache: cache.expect("Redis is there") }
    }
}

impl Reader for Ours {
    async fn read(&mut self, key: u64) -> usize {
        self.rows(key, "active").await.len()
    }
}
