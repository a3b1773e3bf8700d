//! When an invalidation runs, and that it is not lost when the caller goes away.
#![deny(warnings, clippy::all, clippy::pedantic)]
#![allow(clippy::unused_async, reason = "the bodies are examples")]

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use staleproof::{Cache, cached, invalidates};
use tokio::sync::Notify;

#[derive(Clone)]
struct Service {
    cache: Cache,
    other: Cache,
    loads: Arc<AtomicUsize>,
    bodies: Arc<AtomicUsize>,
    gate: Arc<Notify>,
    open: Arc<AtomicBool>,
}

impl Service {
    fn new() -> Self {
        Self {
            cache: Cache::memory(),
            other: Cache::memory(),
            loads: Arc::default(),
            bodies: Arc::default(),
            gate: Arc::default(),
            open: Arc::default(),
        }
    }

    fn loads(&self) -> usize {
        self.loads.swap(0, Ordering::SeqCst)
    }

    #[cached(ttl = "1m")]
    async fn one(&self, id: u8) -> u8 {
        self.loads.fetch_add(1, Ordering::SeqCst);
        id
    }

    #[cached(ttl = "1m", cache = self.other)]
    async fn two(&self, id: u8) -> u8 {
        self.loads.fetch_add(1, Ordering::SeqCst);
        id
    }

    async fn warm(&self) {
        self.one(1).await;
        self.two(1).await;
        self.loads();
    }

    /// How many of the two entries are gone.
    async fn gone(&self) -> usize {
        self.one(1).await;
        self.two(1).await;
        self.loads()
    }

    #[invalidates(Self::one(1))]
    #[tracing::instrument(skip(self))]
    #[invalidates(Self::two(1), cache = self.other)]
    async fn both(&self) -> Result<(), String> {
        self.bodies.fetch_add(1, Ordering::SeqCst);
        if !self.open.load(Ordering::SeqCst) {
            self.gate.notified().await;
        }
        Ok(())
    }

    #[invalidates(Self::one(1), on = "ok")]
    #[invalidates(Self::two(1), on = "always", cache = self.other)]
    async fn fails(&self, early: bool) -> Result<(), std::num::ParseIntError> {
        if early {
            "x".parse::<u8>()?;
        }
        "".parse::<u8>().map(drop)
    }

    #[invalidates(Self::one(1))]
    async fn early(&self) -> Result<u8, String> {
        if self.loads() < 100 {
            return Ok(1);
        }
        Err("unreachable".to_owned())
    }

    #[invalidates(Self::one(1))]
    async fn opaque(&self) -> impl Iterator<Item = u8> + use<> {
        std::iter::once(1)
    }

    #[invalidates(Self::one(1))]
    async fn optional(&self) -> Option<u8> {
        None
    }

    #[cached(ttl = "1m", key_prefix = "above")]
    #[invalidates(Self::one(id))]
    async fn cached_above(&self, id: u8) -> u8 {
        self.bodies.fetch_add(1, Ordering::SeqCst);
        id
    }

    #[invalidates(Self::one(id))]
    #[cached(ttl = "1m", key_prefix = "below")]
    async fn cached_below(&self, id: u8) -> u8 {
        self.bodies.fetch_add(1, Ordering::SeqCst);
        id
    }

    #[invalidates(|(owner, _)| Self::one(owner), Self::two(owner), cache = self.other)]
    async fn by_value(&self) -> Result<(u8, String), String> {
        Ok((1, String::new()))
    }
}

#[invalidates(Service::one(1), cache = service.cache)]
async fn free(service: Service) {
    drop(service);
}

#[tokio::test]
async fn after_ok() {
    let service = Service::new();
    service.open.store(true, Ordering::SeqCst);
    service.warm().await;
    service.both().await.unwrap();
    assert_eq!(service.gone().await, 2);
    service.early().await.unwrap();
    assert_eq!(service.gone().await, 1);
    assert_eq!(service.opaque().await.count(), 1);
    assert_eq!(service.gone().await, 1);
    assert_eq!(service.optional().await, None);
    assert_eq!(service.gone().await, 1);
    free(service.clone()).await;
    assert_eq!(service.gone().await, 1);
    service.by_value().await.unwrap();
    assert_eq!(service.gone().await, 1);
}

#[tokio::test]
async fn after_an_error_only_if_asked_for() {
    let service = Service::new();
    for early in [true, false] {
        service.warm().await;
        service.fails(early).await.unwrap_err();
        service.one(1).await;
        assert_eq!(service.loads(), 0);
        service.two(1).await;
        assert_eq!(service.loads(), 1);
    }
}

#[tokio::test]
async fn beside_cached_it_belongs_to_the_body() {
    let service = Service::new();
    for _ in 0..2 {
        service.warm().await;
        service.cached_above(1).await;
        service.cached_below(1).await;
    }
    assert_eq!(service.bodies.load(Ordering::SeqCst), 2);
    assert_eq!(service.gone().await, 0, "a hit invalidates nothing");
    service.cached_above(2).await;
    service.cached_below(2).await;
    assert_eq!(service.bodies.load(Ordering::SeqCst), 4);
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn dropped_before_the_body_is_through_nothing_is_invalidated() {
    let service = Service::new();
    service.warm().await;
    {
        let mut call = pin!(service.both());
        assert!(poll_once(call.as_mut()).is_pending());
        assert_eq!(service.bodies.load(Ordering::SeqCst), 1);
    }
    assert_eq!(service.gone().await, 0);
}

#[tokio::test]
async fn dropped_at_any_point_after_the_body_everything_is_invalidated() {
    for polls in 1.. {
        let service = Service::new();
        service.warm().await;
        service.open.store(true, Ordering::SeqCst);
        let mut finished = false;
        {
            let mut call = pin!(service.both());
            for _ in 0..polls {
                finished = poll_once(call.as_mut()).is_ready();
                tokio::task::yield_now().await;
                if finished {
                    break;
                }
            }
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(service.gone().await, 2, "dropped after {polls} polls");
        if finished {
            return;
        }
    }
}
