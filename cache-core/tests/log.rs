//! What is logged, and how often.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Cache, Key, MemoryStore, Policy, Store, Target,
    store::{Acquired, Filled, HolderId, Lease, Outcome, Payload, Purpose, Read, StoreError},
};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use tracing::{Level, field::Visit};

/// The memory store as one that takes only bytes.
struct BytesOnly(MemoryStore);

#[async_trait]
impl Store for BytesOnly {
    fn name(&self) -> &'static str {
        "bytes"
    }

    async fn read(&self, key: &Key) -> Result<Read, StoreError> {
        self.0.read(key).await
    }

    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError> {
        self.0.acquire(key, purpose, lasts).await
    }

    async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> Result<bool, StoreError> {
        self.0.renew(key, lease, lasts).await
    }

    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError> {
        self.0.fill(key, lease, payload, ttl).await
    }

    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError> {
        self.0.release(key, lease).await
    }

    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError> {
        self.0.invalidate(targets).await
    }

    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError> {
        self.0.hold(targets, holder, lasts).await
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError> {
        self.0.release_hold(targets, holder).await
    }
}

/// Which function is named how often in the log, by level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<HashMap<(Level, String), usize>>>);

impl Log {
    fn count(&self, level: Level, function: &str) -> usize {
        let counts = self.0.lock().expect("no test panics while it logs");
        counts.get(&(level, function.to_owned())).copied().unwrap_or_default()
    }
}

struct Function(Option<String>);

impl Visit for Function {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        if field.name() == "function" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
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
        let mut function = Function(None);
        event.record(&mut function);
        if let Function(Some(function)) = function {
            let mut counts = self.0.lock().expect("no test panics while it logs");
            *counts.entry((*event.metadata().level(), function)).or_default() += 1;
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// A value that no codec can carry.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Opaque;

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("opaque"))
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_stored_is_a_warning_once_per_function() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    let cache = Cache::builder().store(Arc::new(BytesOnly(MemoryStore::new(1 << 20)))).build().expect("good settings");
    let policy = Policy::new(Duration::from_secs(60));
    for number in 0..10 {
        for function in ["one", "other"] {
            let key = Key::new(function).arg(&number);
            let value = cache.get_or_load(&key, &policy, async || Ok::<_, Infallible>(Opaque)).await;
            assert_eq!(value, Ok(Opaque));
        }
    }
    for function in ["one", "other"] {
        let counts = [Level::WARN, Level::DEBUG].map(|level| log.count(level, function));
        assert_eq!(counts, [1, 9], "{function}");
    }
    assert_eq!(cache.stats().total.unencodable, 20);
}
