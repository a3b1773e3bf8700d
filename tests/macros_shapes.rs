//! Return types are recognised by type, and bodies compile as if the attribute were not there.
#![deny(warnings, clippy::all, clippy::pedantic)]
#![allow(clippy::unused_async, reason = "the bodies are examples")]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use staleproof::{Cache, cached};

/// Recognised though its name says nothing.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Found<T> = Option<T>;
type Shared<T> = Arc<T>;
use std::result::Result as Outcome;

/// Has no `Clone`: only its `Arc` can be handed out.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Page(u32);

#[derive(Clone, Default)]
struct Service {
    loads: Arc<AtomicUsize>,
    cache: CacheOf,
}

#[derive(Clone)]
struct CacheOf(Cache);

impl Default for CacheOf {
    fn default() -> Self {
        Self(Cache::memory())
    }
}

impl std::ops::Deref for CacheOf {
    type Target = Cache;
    fn deref(&self) -> &Cache {
        &self.0
    }
}

impl Service {
    fn count(&self) -> usize {
        self.loads.fetch_add(1, Ordering::SeqCst) + 1
    }

    #[cached(ttl = "1m")]
    async fn alias(&self, id: u32) -> Fallible<u32> {
        self.count();
        if id == 0 {
            return Err("zero".into());
        }
        let text = id.to_string();
        let parsed: u32 = text.parse()?;
        Ok(parsed)
    }

    #[cached(ttl = "1m")]
    async fn renamed(&self, id: u32) -> Outcome<Shared<Page>, String> {
        self.count();
        if id == 0 { Err("zero".to_owned()) } else { Ok(Arc::new(Page(id))) }
    }

    #[cached(ttl = "1m")]
    async fn nested(&self, id: u32) -> Fallible<Found<Shared<Page>>> {
        self.count();
        Ok((id != 0).then(|| Arc::new(Page(id))))
    }

    #[cached(ttl = "1m")]
    async fn coerced(&self, id: u32) -> Result<u32, Box<dyn Error + Send + Sync>> {
        self.count();
        match id {
            0 => Err(Box::new(std::io::Error::other("zero"))),
            id => Ok(id),
        }
    }

    #[cached(ttl = "1m")]
    async fn plain(&self, id: u32) -> u32 {
        self.count();
        id
    }

    #[cached(ttl = "1m")]
    async fn option(&self, id: u32) -> Option<String> {
        self.count();
        let id = (id > 0).then_some(id)?;
        Some(id.to_string())
    }

    #[cached(ttl = "1m")]
    async fn shared_option(&self, id: u32) -> Option<Arc<Page>> {
        self.count();
        (id > 0).then(|| Arc::new(Page(id)))
    }

    #[cached(ttl = "1m")]
    async fn shared(&self) -> Arc<Page> {
        self.count();
        Arc::new(Page(1))
    }

    #[cached(ttl = "1m", cache_if = |value| value.len() > 1)]
    async fn only_long(&self, text: &str) -> Fallible<String> {
        self.count();
        Ok(text.to_owned())
    }

    #[cached(ttl = "1m", cache_if = Option::is_some)]
    async fn only_some(&self, id: u32) -> Fallible<Option<u32>> {
        self.count();
        Ok((id > 0).then_some(id))
    }

    #[cached(ttl = "1m", negative_ttl = "1s", jitter = 0, refresh_ahead, stale_if_error = "1h", version = 2)]
    async fn every_policy(&self, id: u32) -> Fallible<Option<u32>> {
        self.count();
        Ok(Some(id))
    }

    #[cached(ttl = std::time::Duration::from_secs(5), refresh_ahead = 1.5)]
    async fn computed_ttl(&self) -> u8 {
        self.count();
        1
    }

    #[cached(ttl = "1m")]
    async fn unit(&self) -> Result<(), String> {
        self.count();
        Ok(())
    }
}

macro_rules! loads_once {
    ($service:ident, $call:expr) => {{
        let before = $service.loads.load(Ordering::SeqCst);
        let first = $call.await;
        let second = $call.await;
        assert_eq!($service.loads.load(Ordering::SeqCst), before + 1, stringify!($call));
        (first, second)
    }};
}

macro_rules! loads_twice {
    ($service:ident, $call:expr) => {{
        let before = $service.loads.load(Ordering::SeqCst);
        let first = $call.await;
        let second = $call.await;
        assert_eq!($service.loads.load(Ordering::SeqCst), before + 2, stringify!($call));
        (first, second)
    }};
}

#[tokio::test]
async fn values_are_kept_in_every_shape() {
    let service = Service::default();
    assert_eq!(loads_once!(service, service.alias(1)).1.unwrap(), 1);
    let (first, second) = loads_once!(service, service.renamed(1));
    assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
    let (first, second) = loads_once!(service, service.nested(1));
    assert!(Arc::ptr_eq(&first.unwrap().unwrap(), &second.unwrap().unwrap()));
    assert_eq!(loads_once!(service, service.coerced(1)).1.unwrap(), 1);
    assert_eq!(loads_once!(service, service.plain(1)).1, 1);
    assert_eq!(loads_once!(service, service.option(1)).1.as_deref(), Some("1"));
    let (first, second) = loads_once!(service, service.shared_option(1));
    assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
    let (first, second) = loads_once!(service, service.shared());
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(loads_once!(service, service.every_policy(1)).1.unwrap(), Some(1));
    assert_eq!(loads_once!(service, service.computed_ttl()).1, 1);
    assert_eq!(loads_once!(service, service.unit()).1, Ok(()));
}

#[tokio::test]
async fn absence_is_kept() {
    let service = Service::default();
    assert!(loads_once!(service, service.nested(0)).1.unwrap().is_none());
    assert!(loads_once!(service, service.option(0)).1.is_none());
    assert!(loads_once!(service, service.shared_option(0)).1.is_none());
}

#[tokio::test]
async fn errors_are_not_kept_whatever_the_result_is_called() {
    let service = Service::default();
    loads_twice!(service, service.alias(0)).1.unwrap_err();
    loads_twice!(service, service.renamed(0)).1.unwrap_err();
    loads_twice!(service, service.coerced(0)).1.unwrap_err();
}

#[tokio::test]
async fn cache_if_decides() {
    let service = Service::default();
    loads_twice!(service, service.only_long("x")).1.unwrap();
    loads_once!(service, service.only_long("xx")).1.unwrap();
    loads_twice!(service, service.only_some(0)).1.unwrap();
    loads_once!(service, service.only_some(1)).1.unwrap();
}
