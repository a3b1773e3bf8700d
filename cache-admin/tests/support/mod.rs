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
    body::Body,
    http::{HeaderMap, Request, StatusCode, header, request::Parts},
};
use cache_admin::Admin;
use http_body_util::BodyExt as _;
use staleproof::{Cache, cached, codec::Json, invalidates};
use test_support::{RedisServer, unique};
use tower::ServiceExt as _;

/// Where the page is mounted.
pub const MOUNT: &str = "/admin/cache";

/// Lets in who may read.
pub const READER: &str = "who=reader";
/// Lets in who may write, too.
pub const WRITER: &str = "who=writer";

/// A service whose source counts how often it is asked.
#[derive(Clone)]
pub struct Service {
    pub cache: Cache,
    asked: Arc<AtomicUsize>,
}

impl Service {
    pub fn in_memory() -> Self {
        Self::of(Cache::memory())
    }

    pub async fn over(redis: &RedisServer) -> Self {
        let cache = Cache::builder().redis(redis.url()).namespace(unique("admin")).codec(Json).connect().await;
        Self::of(cache.expect("Redis is there"))
    }

    fn of(cache: Cache) -> Self {
        Self { cache, asked: Arc::default() }
    }

    /// How often the source was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
    }

    #[cached(ttl = "15m", key_prefix = "page", tags("owner:{owner}"))]
    pub async fn page(&self, owner: u32, page: u32) -> Vec<u32> {
        self.ask();
        tokio::time::sleep(Duration::from_millis(2)).await;
        vec![owner, page]
    }

    #[cached(ttl = "1h", key_prefix = "profile")]
    pub async fn profile(&self, name: String) -> BTreeMap<String, String> {
        self.ask();
        BTreeMap::from([("name".to_owned(), name), ("bio".to_owned(), MARKUP.to_owned())])
    }

    #[invalidates(Self::page(owner, ..), tag("owner:{owner}"))]
    pub async fn change(&self, owner: u32) {}

    #[invalidates(Self::profile(name), "profile:*")]
    pub async fn rename(&self, name: String) {}

    /// An admin page whose charts move fast.
    pub fn admin(&self) -> Admin {
        Admin::new(self.cache.clone())
            .sample_every(Duration::from_millis(100))
            .authorize_reads(|parts: &Parts| is(parts, READER) || is(parts, WRITER))
            .authorize_writes(|parts: &Parts| is(parts, WRITER))
    }

    pub fn router(&self) -> Router {
        Router::new().nest(MOUNT, self.admin().build().expect("both authorisations are there"))
    }
}

/// What must never be taken for markup.
pub const MARKUP: &str = "<script>window.hacked = true</script><b id=\"injected\">&amp;'\"";

fn is(parts: &Parts, who: &str) -> bool {
    let cookies = parts.headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    cookies.flat_map(|line| line.split(';')).any(|cookie| cookie.trim() == who)
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    #[allow(dead_code, reason = "not every test of those that share this needs it")]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends a request through the router.
pub async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.expect("routers do not fail");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the body is whole").to_bytes();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
}

/// Gets a page below the place where the page is mounted.
#[allow(dead_code, reason = "not every test of those that share this needs it")]
pub async fn get(router: &Router, path: &str, cookie: &str) -> Answer {
    let request = Request::get(format!("{MOUNT}{path}")).header(header::COOKIE, cookie);
    send(router, request.body(Body::empty()).expect("a request")).await
}
