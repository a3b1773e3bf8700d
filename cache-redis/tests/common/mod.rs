//! What the tests of the store share.

#![allow(dead_code, reason = "each test file is a program of its own and uses some of this")]

pub(crate) mod clustered;
pub(crate) mod keeper;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use cache_core::{
    Key, Outcome, Store, Tag, Target,
    store::{Acquired, Filled, Lease, Link, Payload, Purpose, Read},
};
use cache_redis::{RedisConfig, RedisStore};
use test_support::{RedisServer, cli, shared_url, unique};

pub(crate) const LEASE: Duration = Duration::from_secs(10);
pub(crate) const TTL: Duration = Duration::from_secs(60);
pub(crate) const LOAD: Purpose = Purpose::Load { unreadable: None };

/// A store under a namespace of its own, and a view of Redis beside it.
pub(crate) struct Ground {
    pub(crate) url: String,
    pub(crate) namespace: String,
    pub(crate) store: RedisStore,
}

impl Ground {
    /// On the Redis that the tests share.
    pub(crate) async fn shared() -> Self {
        Self::at(shared_url()).await
    }

    pub(crate) async fn on(server: &RedisServer) -> Self {
        Self::at(server.url()).await
    }

    pub(crate) async fn at(url: String) -> Self {
        let namespace = unique("test");
        let store = RedisStore::connect(config(&url, &namespace)).await.expect("Redis is there");
        Self { url, namespace, store }
    }

    /// Another instance in the same namespace.
    pub(crate) async fn another(&self) -> RedisStore {
        RedisStore::connect(config(&self.url, &self.namespace)).await.expect("Redis is there")
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        cli(&self.url, arguments)
    }

    /// The name of a key in Redis.
    pub(crate) fn name(&self, path: impl std::fmt::Display) -> String {
        format!("{}:{path}", self.namespace)
    }
}

/// Patient with a busy machine.
pub(crate) fn config(url: &str, namespace: &str) -> RedisConfig {
    let config = RedisConfig::new(url).namespace(namespace).require();
    config.call_timeout(Duration::from_secs(2)).connect_timeout(Duration::from_secs(3))
}

pub(crate) fn page(owner: i32, page: i32) -> Key {
    Key::new("page").arg(&owner).arg(&page).tag(Tag::new("owner:").arg(&owner))
}

pub(crate) fn bytes(text: &str) -> Payload {
    Payload::Bytes(text.to_owned().into())
}

pub(crate) async fn lease(store: &RedisStore, key: &Key) -> Lease {
    match store.acquire(key, LOAD, LEASE).await.expect("Redis answers") {
        Acquired::Lease(lease) => lease,
        other => panic!("no lease on {key}: {other:?}"),
    }
}

/// Loads and fills.
pub(crate) async fn fill(store: &RedisStore, key: &Key, value: &str) {
    let lease = lease(store, key).await;
    let filled = store.fill(key, &lease, bytes(value), TTL).await.expect("Redis answers");
    assert_eq!(filled, Filled::Stored);
}

/// The value that a read hits.
pub(crate) async fn hit(store: &RedisStore, key: &Key) -> Option<String> {
    match store.read(key).await.expect("Redis answers") {
        Read::Hit(stored) => Some(text(&stored.payload)),
        Read::Miss { .. } => None,
        Read::Held => panic!("{key} is held"),
    }
}

pub(crate) fn text(payload: &Payload) -> String {
    match payload {
        Payload::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Payload::Object { .. } => panic!("Redis holds bytes"),
    }
}

pub(crate) async fn invalidate(store: &RedisStore, target: Target) {
    let outcome = store.invalidate(&[target]).await.expect("Redis answers");
    assert_eq!(outcome, Outcome::Applied);
}

/// Waits until the link is as asked, and returns how long that took.
pub(crate) async fn until(store: &RedisStore, up: bool) -> Duration {
    let began = Instant::now();
    let mut link = store.link().expect("Redis can be out of reach");
    let reached = link.wait_for(|link| matches!(link, Link::Up) == up);
    let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
    drop(reached.unwrap_or_else(|_| panic!("the link did not become {}", if up { "up" } else { "down" })));
    began.elapsed()
}

/// Collects what is logged on this thread, everything included.
#[derive(Clone, Default)]
pub(crate) struct Log(std::sync::Arc<std::sync::Mutex<String>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        self.0.lock().expect("no test panics while it logs").clone()
    }

    pub(crate) fn count(&self, text: &str) -> usize {
        self.text().matches(text).count()
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = self.0.lock().expect("no test panics while it logs");
        write!(text, "{} ", event.metadata().level()).expect("writing to a String succeeds");
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            write!(text, "{field}={value:?} ").expect("writing to a String succeeds");
        });
        text.push('\n');
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
