//! Methods of trait impls, also under `#[async_trait]`.
#![deny(warnings, clippy::all, clippy::pedantic)]
#![allow(clippy::unused_async, reason = "the bodies are examples")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use staleproof::{Cache, KeyPart, cached, cached_impl, invalidates, keys};

trait Directory {
    type Id: KeyPart;

    fn find(&self, id: Self::Id, page: u32) -> impl Future<Output = Result<String, String>> + Send;
    fn rename(&self, id: Self::Id) -> impl Future<Output = Result<(), String>> + Send;
    fn count() -> impl Future<Output = usize> + Send;
}

#[async_trait]
trait Objects: Send + Sync {
    async fn accessible(&self, employee: i64) -> Result<Arc<Vec<i64>>, String>;
    async fn grant(&self, employee: i64, object: i64) -> Result<i64, String>;
    async fn kinds(&self, names: &[String], of: Option<&str>) -> usize;
}

struct Service<T> {
    cache: Cache,
    loads: AtomicUsize,
    kind: T,
}

impl<T> Service<T> {
    fn new(kind: T) -> Self {
        Self { cache: Cache::memory(), loads: AtomicUsize::new(0), kind }
    }

    fn loads(&self) -> usize {
        self.loads.swap(0, Ordering::SeqCst)
    }
}

#[cached_impl]
impl<T> Directory for Service<T>
where
    T: Clone + Send + Sync + ToString,
{
    type Id = i64;

    /// Finds.
    #[cached(ttl = "1m")]
    async fn find(&self, id: Self::Id, page: u32) -> Result<String, String> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Ok(format!("{} {id} {page}", self.kind.to_string()))
    }

    #[invalidates(Self::find(id, ..))]
    async fn rename(&self, id: Self::Id) -> Result<(), String> {
        Ok(())
    }

    #[cached(ttl = "1m")]
    async fn count() -> usize {
        std::any::type_name::<T>().len()
    }
}

#[cached_impl]
#[async_trait]
impl<T> Objects for Service<T>
where
    T: Clone + Send + Sync + ToString,
{
    #[cached(ttl = "1m", key_prefix = "traits_accessible", tags("employee:{employee}"))]
    #[tracing::instrument(skip(self))]
    async fn accessible(&self, employee: i64) -> Result<Arc<Vec<i64>>, String> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        if employee == 0 {
            return Err("nobody".to_owned());
        }
        Ok(Arc::new(vec![employee]))
    }

    #[invalidates(|granted| Self::accessible(granted))]
    #[invalidates(<Self as Directory>::find(object, 1))]
    async fn grant(&self, employee: i64, object: i64) -> Result<i64, String> {
        let _ = object;
        Ok(employee)
    }

    #[cached(ttl = "1m")]
    async fn kinds(&self, names: &[String], of: Option<&str>) -> usize {
        self.loads.fetch_add(1, Ordering::SeqCst);
        names.len() + of.map_or(0, str::len)
    }
}

#[tokio::test]
async fn a_trait_method_is_cached_and_invalidated() {
    let service = Service::new("a");
    for _ in 0..2 {
        assert_eq!(service.find(7, 1).await.unwrap(), "a 7 1");
    }
    assert_eq!(service.loads(), 1);
    service.rename(7).await.unwrap();
    service.find(7, 1).await.unwrap();
    assert_eq!(service.loads(), 1);
    let _ = service.cache.invalidate(keys![<Service<&str> as Directory>::find(7, 1)]).await;
    service.find(7, 1).await.unwrap();
    assert_eq!(service.loads(), 1);
}

#[tokio::test]
async fn async_trait_methods_work_through_dyn() {
    let service = Arc::new(Service::new(1_u8));
    let objects: Arc<dyn Objects> = service.clone();
    let first = objects.accessible(7).await.unwrap();
    assert!(Arc::ptr_eq(&first, &objects.accessible(7).await.unwrap()));
    objects.accessible(0).await.unwrap_err();
    assert_eq!(service.loads(), 2);
    service.find(5, 1).await.unwrap();
    objects.grant(7, 5).await.unwrap();
    objects.accessible(7).await.unwrap();
    service.find(5, 1).await.unwrap();
    assert_eq!(service.loads(), 3);
    assert_eq!(objects.kinds(&["x".to_owned()], Some("ab")).await, 3);
    assert_eq!(objects.kinds(&["x".to_owned()], Some("ab")).await, 3);
    assert_eq!(service.loads(), 1);
}

#[tokio::test]
async fn implementations_for_two_types_share_nothing() {
    assert_ne!(Service::<u8>::count().await, Service::<String>::count().await);
}
