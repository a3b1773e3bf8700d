//! An instance that keeps values in its own memory, as simple as can be.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use cache_core::{
    Key, Store, Target,
    store::{Nearby, Read},
};
use cache_redis::{RedisConfig, RedisStore};

use super::text;

/// A store, and the values that are kept in front of it.
pub(crate) struct Keeper {
    pub(crate) store: RedisStore,
    pub(crate) memory: Arc<Memory>,
}

/// What is kept, and what was told.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Kept>);

#[derive(Default)]
pub(crate) struct Kept {
    values: HashMap<String, String>,
    /// What a read that is under way compares.
    changes: u64,
    until: Option<Instant>,
    pub(crate) told: Vec<Target>,
    pub(crate) emptied: u64,
    pub(crate) renewals: u64,
}

impl Memory {
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no test panics while it keeps")
    }

    /// The value, if it may be served.
    pub(crate) fn served(&self, key: &Key) -> Option<String> {
        let kept = self.kept();
        if !kept.may_serve() {
            return None;
        }
        kept.values.get(key.as_str()).cloned()
    }

    pub(crate) fn may_serve(&self) -> bool {
        self.kept().may_serve()
    }

    pub(crate) fn has_been_told(&self, target: &Target) -> bool {
        self.kept().told.contains(target)
    }
}

impl Kept {
    fn may_serve(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

impl Nearby for Memory {
    fn invalidate(&self, targets: &[Target]) {
        let mut kept = self.kept();
        kept.changes += 1;
        kept.told.extend_from_slice(targets);
        // Whatever it is that is invalid: the keys of these tests are few.
        for target in targets {
            match target {
                Target::Entry(path) => drop(kept.values.remove(path)),
                _ => kept.values.clear(),
            }
        }
    }

    fn empty(&self) {
        let mut kept = self.kept();
        kept.changes += 1;
        kept.emptied += 1;
        kept.until = None;
        kept.values.clear();
    }

    fn may_serve_until(&self, until: Instant) {
        let mut kept = self.kept();
        assert!(kept.until.is_none_or(|before| before <= until), "a lease never moves backwards");
        kept.until = Some(until);
        kept.renewals += 1;
    }
}

impl Keeper {
    pub(crate) async fn connect(config: RedisConfig) -> Self {
        Self::of(RedisStore::connect(config).await.expect("Redis is there"))
    }

    pub(crate) fn of(store: RedisStore) -> Self {
        let memory = Arc::new(Memory::default());
        assert!(store.feed(Arc::clone(&memory) as Arc<dyn Nearby>), "Redis has a feed");
        Self { store, memory }
    }

    /// Reads, and keeps what it finds unless something was invalidated meanwhile.
    pub(crate) async fn read(&self, key: &Key) -> Option<String> {
        if let Some(value) = self.memory.served(key) {
            return Some(value);
        }
        let before = self.memory.kept().changes;
        let Ok(Read::Hit(stored)) = self.store.read(key).await else { return None };
        let value = text(&stored.payload);
        let mut kept = self.memory.kept();
        if kept.changes == before {
            kept.values.insert(key.as_str().to_owned(), value.clone());
        }
        Some(value)
    }

    /// Waits for a lease.
    pub(crate) async fn until_it_may_serve(&self) {
        wait("a lease", || self.memory.may_serve()).await;
    }
}

/// Waits until this is so.
pub(crate) async fn wait(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
