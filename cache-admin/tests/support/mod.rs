//! A service with a cache, and how to reach its admin page.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{header, request::Parts},
};
use cache_admin::Admin;
use staleproof::{Cache, cached, codec::Json, invalidates};
use test_support::{RedisServer, unique};

/// Where the page is mounted.
pub(crate) const MOUNT: &str = "/admin/cache";

/// Lets in who may read.
pub(crate) const READER: &str = "who=reader";
/// Lets in who may write, too.
pub(crate) const WRITER: &str = "who=writer";

/// A service whose source counts how often it is asked.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) cache: Cache,
    asked: Arc<AtomicUsize>,
}

impl Service {
    pub(crate) fn in_memory() -> Self {
        Self::of(Cache::memory())
    }

    pub(crate) async fn over(redis: &RedisServer) -> Self {
        let cache = Cache::builder().redis(redis.url()).namespace(unique("admin")).codec(Json).connect().await;
        Self::of(cache.expect("Redis is there"))
    }

    fn of(cache: Cache) -> Self {
        Self { cache, asked: Arc::default() }
    }

    /// How often the source was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
    }

    #[cached(ttl = "15m", key_prefix = "page", tags("owner:{owner}"))]
    pub(crate) async fn page(&self, owner: u32, page: u32) -> Vec<u32> {
        self.ask();
        tokio::time::sleep(Duration::from_millis(2)).await;
        vec![owner, page]
    }

    #[cached(ttl = "1h", key_prefix = "profile")]
    pub(crate) async fn profile(&self, name: String) -> BTreeMap<String, String> {
        self.ask();
        BTreeMap::from([("name".to_owned(), name), ("bio".to_owned(), MARKUP.to_owned())])
    }

    #[invalidates(Self::page(owner, ..), tag("owner:{owner}"))]
    pub(crate) async fn change(&self, owner: u32) {}

    #[invalidates(Self::profile(name), "profile:*")]
    pub(crate) async fn rename(&self, name: String) {}

    /// An admin page whose charts move fast.
    pub(crate) fn admin(&self) -> Admin {
        Admin::new(self.cache.clone())
            .sample_every(Duration::from_millis(100))
            .authorize_reads(|parts: &Parts| is(parts, READER) || is(parts, WRITER))
            .authorize_writes(|parts: &Parts| is(parts, WRITER))
    }

    pub(crate) fn router(&self) -> Router {
        Router::new().nest(MOUNT, self.admin().build().expect("both authorisations are there"))
    }
}

/// What must never be taken for markup.
pub(crate) const MARKUP: &str = "<script>window.hacked = true</script><b id=\"injected\">&amp;'\"";

fn is(parts: &Parts, who: &str) -> bool {
    let cookies = parts.headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    cookies.flat_map(|line| line.split(';')).any(|cookie| cookie.trim() == who)
}
