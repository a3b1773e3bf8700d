//! The attributes at work: what is a hit, what is not, and what an invalidation hits.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use staleproof::{Cache, cached, invalidates, keys};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Contract {
    id: i64,
    owner_id: i64,
}

struct NewContract {
    owner_id: i64,
    employee_id: i64,
    name: String,
}

#[derive(Clone)]
struct Service {
    cache: Cache,
    loads: Arc<AtomicUsize>,
}

impl Service {
    fn new() -> Self {
        Self { cache: Cache::memory(), loads: Arc::default() }
    }

    fn load(&self) -> usize {
        self.loads.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn loads(&self) -> usize {
        self.loads.swap(0, Ordering::SeqCst)
    }

    /// The contracts of an owner.
    #[cached(ttl = "15m", key_prefix = "basics_contracts")]
    async fn contracts(&self, owner_id: i64) -> Result<Vec<Contract>, Infallible> {
        self.load();
        Ok(vec![Contract { id: 1, owner_id }])
    }

    #[cached(ttl = "10m", tags("owner:{owner_id}"))]
    async fn page(&self, owner_id: i64, page: u32) -> Result<Arc<Vec<u32>>, Infallible> {
        self.load();
        Ok(Arc::new(vec![page, u32::try_from(owner_id).unwrap_or_default()]))
    }

    #[cached(ttl = 60, negative_ttl = "1s")]
    async fn by_name(&self, name: &str) -> Option<Contract> {
        self.load();
        (name != "nobody").then_some(Contract { id: 2, owner_id: 3 })
    }

    #[invalidates(Self::contracts(new.owner_id), Self::page(new.owner_id, ..), Self::by_name(new.name))]
    async fn create(&self, new: NewContract) -> Result<Contract, String> {
        let NewContract { owner_id, employee_id, name } = new;
        if name.is_empty() {
            return Err("no name".to_owned());
        }
        Ok(Contract { id: employee_id, owner_id })
    }

    #[invalidates(|contract| Self::contracts(contract.owner_id), tag("owner:{contract.owner_id}"))]
    async fn terminate(&self, id: i64) -> Result<Contract, String> {
        Ok(Contract { id, owner_id: 7 })
    }
}

#[tokio::test]
async fn a_second_call_is_a_hit() {
    let service = Service::new();
    let first = service.contracts(7).await.unwrap();
    assert_eq!(service.contracts(7).await.unwrap(), first);
    assert_eq!(service.loads(), 1);
    assert_eq!(service.contracts(8).await.unwrap()[0].owner_id, 8);
    assert_eq!(service.loads(), 1);
}

#[tokio::test]
async fn an_arc_is_shared() {
    let service = Service::new();
    let first = service.page(7, 1).await.unwrap();
    let second = service.page(7, 1).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn none_is_kept_too() {
    let service = Service::new();
    assert_eq!(service.by_name("nobody").await, None);
    assert_eq!(service.by_name("nobody").await, None);
    assert_eq!(service.loads(), 1);
}

#[tokio::test]
async fn invalidations_hit_what_they_name() {
    let service = Service::new();
    let fill = async || {
        for owner in [7, 70] {
            service.contracts(owner).await.unwrap();
            for page in [1, 2] {
                service.page(owner, page).await.unwrap();
            }
        }
        service.by_name("x").await;
        service.loads()
    };
    assert_eq!(fill().await, 7);
    assert_eq!(fill().await, 0);
    service.create(NewContract { owner_id: 7, employee_id: 1, name: String::new() }).await.unwrap_err();
    assert_eq!(fill().await, 0);
    service.create(NewContract { owner_id: 7, employee_id: 1, name: "x".to_owned() }).await.unwrap();
    assert_eq!(fill().await, 4);
    service.terminate(7).await.unwrap();
    assert_eq!(fill().await, 3);
    let _ = service.cache.invalidate(keys![Service::page(70, 2), "basics_*"]).await;
    assert_eq!(fill().await, 3);
}
