//! Those that are in the process only: quick_cache, moka and foyer, each with its own way to load once.

use std::{convert::Infallible, sync::Arc};

use super::{Place, Source, Subject, TTL};

const CAPACITY: usize = 4_096;

/// `get_or_insert_async`, `remove`.
#[derive(Clone)]
pub struct QuickCache {
    cache: Arc<quick_cache::sync::Cache<u64, u64>>,
    source: Arc<Source>,
}

impl QuickCache {
    pub fn new(place: &Place) -> Self {
        Self { cache: Arc::new(quick_cache::sync::Cache::new(CAPACITY)), source: Arc::clone(&place.source) }
    }
}

impl Subject for QuickCache {
    async fn read(&self, key: u64) -> u64 {
        let load = async { Ok::<_, Infallible>(self.source.load(key).await) };
        self.cache.get_or_insert_async(&key, load).await.unwrap_or_else(|never| match never {})
    }

    async fn invalidate(&self, key: u64) -> bool {
        self.cache.remove(&key);
        true
    }
}

/// `get_with`, `invalidate`.
#[derive(Clone)]
pub struct Moka {
    cache: moka::future::Cache<u64, u64>,
    source: Arc<Source>,
}

impl Moka {
    pub fn new(place: &Place) -> Self {
        let cache = moka::future::Cache::builder().max_capacity(CAPACITY as u64).time_to_live(TTL).build();
        Self { cache, source: Arc::clone(&place.source) }
    }
}

impl Subject for Moka {
    async fn read(&self, key: u64) -> u64 {
        self.cache.get_with(key, self.source.load(key)).await
    }

    async fn invalidate(&self, key: u64) -> bool {
        self.cache.invalidate(&key).await;
        true
    }
}

/// `get_or_fetch`, `remove`.
#[derive(Clone)]
pub struct Foyer {
    cache: foyer::Cache<u64, u64>,
    source: Arc<Source>,
}

impl Foyer {
    pub fn new(place: &Place) -> Self {
        Self { cache: foyer::CacheBuilder::new(CAPACITY).build(), source: Arc::clone(&place.source) }
    }
}

impl Subject for Foyer {
    async fn read(&self, key: u64) -> u64 {
        let source = Arc::clone(&self.source);
        let fetch = || async move { Ok::<_, Infallible>(source.load(key).await) };
        *self.cache.get_or_fetch(&key, fetch).await.expect("a load succeeds").value()
    }

    async fn invalidate(&self, key: u64) -> bool {
        self.cache.remove(&key);
        true
    }
}
