//! What a batch method may look like, and whose entries it has.
#![deny(warnings, clippy::all, clippy::pedantic)]
#![allow(clippy::unused_async, reason = "the bodies are examples")]

use std::{
    collections::{BTreeMap, HashMap, hash_map::RandomState},
    fmt::Display,
    hash::{BuildHasherDefault, DefaultHasher, Hash},
    marker::PhantomData,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use staleproof::{Cache, KeyPart, cached, cached_impl, invalidates, keys, registry, transaction};

type Stable = BuildHasherDefault<DefaultHasher>;
type Answer<T> = Result<T, String>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, KeyPart)]
struct UserId(u64);

/// What the loads were asked, as text.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn note(&self, ids: &[impl Display]) {
        let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        self.0.lock().expect("no panic").push(ids);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

#[derive(Clone)]
struct Service {
    cache: Cache,
    asked: Asked,
}

fn service() -> Service {
    Service { cache: Cache::memory(), asked: Asked::default() }
}

/// Each of these is called with `[1, 2]`, then with `[2, 3]`.
impl Service {
    #[cached(batch, ttl = "1m")]
    async fn hashed(&self, ids: &[u64]) -> HashMap<u64, u64> {
        self.asked.note(ids);
        ids.iter().map(|id| (*id, *id)).collect()
    }

    #[cached(batch, ttl = "1m")]
    async fn hashed_otherwise(&self, ids: &[u64]) -> Answer<HashMap<u64, Arc<User>, Stable>> {
        self.asked.note(ids);
        Ok(ids.iter().map(|&id| (id, Arc::new(User { id }))).collect())
    }

    #[cached(batch, ttl = "1m")]
    async fn sorted(&self, ids: &[UserId]) -> Answer<BTreeMap<UserId, User>> {
        self.asked.note(&ids.iter().map(|id| id.0).collect::<Vec<_>>());
        Ok(ids.iter().map(|&id| (id, User { id: id.0 })).collect())
    }

    #[cached(batch, ttl = "1m")]
    async fn listed(&self, ids: &[u64]) -> Vec<Option<User>> {
        self.asked.note(ids);
        ids.iter().map(|&id| Some(User { id })).collect()
    }

    #[cached(batch, ttl = "1m")]
    async fn of_text(&self, names: &[&str]) -> Answer<Vec<Option<String>>> {
        self.asked.note(names);
        Ok(names.iter().map(|name| Some((*name).to_owned())).collect())
    }

    #[cached(batch, ttl = "1m")]
    async fn of_owned_text<'a>(&'a self, names: &'a [String]) -> HashMap<String, usize> {
        self.asked.note(names);
        names.iter().map(|name| (name.clone(), name.len())).collect()
    }

    #[cached(batch, ttl = "1m")]
    async fn of_some_type(&self, ids: &[impl KeyPart + Clone + Display]) -> Vec<Option<String>> {
        self.asked.note(ids);
        ids.iter().map(|id| Some(id.to_string())).collect()
    }

    #[cached(batch, ttl = "1m")]
    async fn of_any_type<K: KeyPart + Clone + Hash + Eq + Display>(&self, ids: &[K]) -> HashMap<K, String> {
        self.asked.note(ids);
        ids.iter().map(|id| (id.clone(), id.to_string())).collect()
    }
}

#[tokio::test]
async fn every_shape_is_asked_for_what_is_missing() {
    let service = service();
    macro_rules! twice {
        ($($method:ident of $ids:expr;)*) => {$({
            let ids = $ids;
            let first = service.$method(&ids[..2]).await;
            let second = service.$method(&ids[1..]).await;
            assert_eq!(service.$method(&ids[..2]).await, first);
            assert_eq!(service.$method(&ids[1..]).await, second);
            assert_eq!(service.asked.take(), ["1 2", "3"], stringify!($method));
        })*};
    }
    twice! {
        hashed of [1, 2, 3];
        hashed_otherwise of [1, 2, 3];
        sorted of [UserId(1), UserId(2), UserId(3)];
        listed of [1, 2, 3];
        of_text of ["1", "2", "3"];
        of_owned_text of ["1", "2", "3"].map(String::from);
        of_some_type of [1, 2, 3];
        of_any_type of [1_u8, 2, 3];
    }
    assert_eq!(service.sorted(&[UserId(2)]).await, Ok(BTreeMap::from([(UserId(2), User { id: 2 })])));
    assert_eq!(service.of_some_type(&["1"]).await, [Some("1".to_owned())], "the text 1 is not the number");
    assert_eq!(service.asked.take(), ["1"]);
    let hits = |service: &Service| service.cache.stats().total.hits;
    let before = hits(&service);
    assert_eq!(service.hashed(&[3, 3, 1]).await, HashMap::from([(1, 1), (3, 3)]));
    assert_eq!(hits(&service) - before, 2, "each entry once");
}

#[tokio::test]
async fn its_own_entries_are_named_by_one_id() {
    let service = service();
    service.hashed(&[1, 2, 3]).await;
    service.of_any_type(&["1"]).await;
    service.asked.take();
    service.cache.invalidate(keys![Service::hashed(2), Service::of_any_type::<&str>("1")]).await;
    service.hashed(&[1, 2, 3]).await;
    service.of_any_type(&["1"]).await;
    assert_eq!(service.asked.take(), ["2", "1"]);
    service.cache.invalidate(keys![Service::hashed(..)]).await;
    service.hashed(&[1, 2]).await;
    assert_eq!(service.asked.take(), ["1 2"]);
}

/// Other arguments beside the ids.
impl Service {
    #[cached(batch, ttl = "1m", tags("org:{org}", "name:{name}", "id:{ids}"))]
    async fn in_org(&self, org: u32, ids: &[u64], name: String) -> Vec<Option<String>> {
        self.asked.note(ids);
        drop(name);
        ids.iter().map(|id| Some(format!("{org} {id}"))).collect()
    }

    #[cached(batch, ttl = "1m", skip(others, salt))]
    async fn beside(&self, ids: &[u64], others: &[u64], (mut salt, _): (u64, u64), mut step: u64) -> HashMap<u64, u64> {
        self.asked.note(ids);
        salt += others.len() as u64;
        step *= 2;
        ids.iter().map(|id| (*id, id * step + salt)).collect()
    }

    #[cached(batch, ttl = "1m", key(ids.0, org % 10))]
    async fn by_key(&self, org: u32, mut ids: &[UserId]) -> HashMap<UserId, u32> {
        let mut found = HashMap::new();
        while let [id, rest @ ..] = ids {
            self.asked.note(&[id.0]);
            found.insert(*id, org);
            ids = rest;
        }
        found
    }

    #[cached(batch, ttl = "1m", cache_if = |user| user.as_ref().is_some_and(|user| user.id != 2))]
    async fn some(&self, ids: &[u64]) -> Vec<Option<User>> {
        self.asked.note(ids);
        ids.iter().map(|&id| (id != 3).then_some(User { id })).collect()
    }
}

#[tokio::test]
async fn other_arguments_are_part_of_the_key() {
    let service = service();
    let all = async |org| service.in_org(org, &[1, 2], "x".to_owned()).await;
    assert_eq!(all(1).await, [Some("1 1".to_owned()), Some("1 2".to_owned())]);
    assert_eq!(all(2).await, [Some("2 1".to_owned()), Some("2 2".to_owned())]);
    all(1).await;
    assert_eq!(service.asked.take(), ["1 2", "1 2"]);
    service.cache.invalidate(keys![Service::in_org(1, 2, "x")]).await;
    all(1).await;
    service.cache.invalidate(keys![tag("id:{}", 1)]).await;
    all(1).await;
    service.cache.invalidate(keys![tag("org:{}", 2)]).await;
    all(1).await;
    all(2).await;
    assert_eq!(service.asked.take(), ["2", "1", "1 2"]);

    assert_eq!(service.beside(&[1, 2], &[9], (5, 0), 10).await, HashMap::from([(1, 26), (2, 46)]));
    assert_eq!(service.beside(&[2, 3], &[], (0, 0), 10).await, HashMap::from([(2, 46), (3, 60)]));
    assert_eq!(service.asked.take(), ["1 2", "3"]);

    assert_eq!(service.by_key(11, &[UserId(1)]).await, HashMap::from([(UserId(1), 11)]));
    assert_eq!(service.by_key(21, &[UserId(1), UserId(2)]).await, HashMap::from([(UserId(1), 11), (UserId(2), 21)]));
    service.cache.invalidate(keys![Service::by_key(2_u64, 1_u32)]).await;
    assert_eq!(service.by_key(31, &[UserId(2)]).await, HashMap::from([(UserId(2), 31)]));
    assert_eq!(service.asked.take(), ["1", "2", "2"]);

    service.some(&[1, 2, 3]).await;
    assert_eq!(service.some(&[1, 2, 3]).await, [Some(User { id: 1 }), Some(User { id: 2 }), None]);
    assert_eq!(service.asked.take(), ["1 2 3", "2 3"]);
}

/// Single calls, and batches that share their entries.
impl Service {
    #[cached(
        ttl = "1m",
        key_prefix = "shared_one",
        tags("org:{org}:of:{id}", "all", "{id}"),
        jitter = 0.2,
        verify = 0.0
    )]
    async fn one(&self, id: u64, org: &str) -> Answer<Option<User>> {
        self.asked.note(&[id]);
        Ok((id != 3 && org != "none").then_some(User { id }))
    }

    #[cached(batch = Self::one)]
    async fn many(&self, ids: &[u64], org: &str) -> Answer<BTreeMap<u64, Arc<User>>> {
        self.asked.note(ids);
        Ok(ids.iter().filter(|id| **id != 3 && org != "none").map(|&id| (id, Arc::new(User { id }))).collect())
    }

    #[cached(ttl = 60)]
    async fn required(&self, id: u64) -> Arc<User> {
        self.asked.note(&[id]);
        Arc::new(User { id })
    }

    #[cached(batch = Service::required)]
    async fn all_required(&self, ids: &[&u64]) -> Vec<Option<User>> {
        self.asked.note(ids);
        ids.iter().map(|id| (**id != 3).then_some(User { id: **id })).collect()
    }

    #[invalidates(Self::one(id, org), Self::required(id))]
    async fn write(&self, id: u64, org: &str) {
        let _ = (id, org);
    }

    /// Reads through the cache and writes: the invalidation belongs to the body.
    #[cached(batch, ttl = "1m")]
    #[invalidates(Self::required(..))]
    async fn reads_and_writes(&self, ids: &[u64]) -> Vec<Option<u64>> {
        ids.iter().copied().map(Some).collect()
    }
}

#[tokio::test]
async fn a_shared_entry_is_the_one_of_the_single_call() {
    let service = service();
    service.one(1, "a").await.expect("it never fails");
    assert_eq!(service.many(&[1, 2, 3], "a").await.expect("it never fails").len(), 2);
    assert_eq!(service.one(2, "a").await, Ok(Some(User { id: 2 })));
    assert_eq!(service.one(3, "a").await, Ok(None));
    assert_eq!(service.asked.take(), ["1", "2 3"]);

    // By whatever name, and with the tags of the single call.
    let both = keys![Service::one(1, "a"), Service::many(2, "a")];
    for targets in [both, keys![tag("org:a:of:1"), tag("org:{}:of:{}", "a", 2)], keys![tag("{}", 1), tag("{}", 2)]] {
        service.cache.invalidate(targets).await;
        assert_eq!(service.many(&[1, 2, 3], "a").await.expect("it never fails").len(), 2);
        assert_eq!(service.asked.take(), ["1 2"]);
    }
    service.cache.invalidate(keys![tag("all")]).await;
    service.write(4, "a").await;
    service.one(1, "a").await.expect("it never fails");
    service.many(&[1, 2, 3], "a").await.expect("it never fails");
    assert_eq!(service.asked.take(), ["1", "2 3"]);

    let prefixes: Vec<_> = registry::sites().into_iter().map(registry::Site::prefix).collect();
    assert!(!prefixes.iter().any(|prefix| prefix.contains("many")), "the entries are those of `one`: {prefixes:?}");
}

#[tokio::test]
async fn absence_is_not_kept_where_the_single_call_has_no_word_for_it() {
    let service = service();
    assert_eq!(service.all_required(&[&1, &3]).await, [Some(User { id: 1 }), None]);
    assert_eq!(service.all_required(&[&1, &3]).await, [Some(User { id: 1 }), None]);
    assert_eq!(service.asked.take(), ["1 3", "3"]);
    service.required(3).await;
    service.required(1).await;
    assert_eq!(service.asked.take(), ["3"]);
    assert_eq!(service.reads_and_writes(&[1]).await, [Some(1)]);
    service.required(1).await;
    assert_eq!(service.reads_and_writes(&[1]).await, [Some(1)], "a hit writes nothing");
    service.required(1).await;
    assert_eq!(service.asked.take(), ["1"]);
}

#[tokio::test]
async fn inside_a_transaction_it_reads_the_source() {
    let service = service();
    service.hashed(&[1]).await;
    let done: Answer<_> = transaction(async { Ok(service.hashed(&[1, 2, 1]).await) }).await;
    assert_eq!(done.map(|found| found.len()), Ok(2));
    service.hashed(&[2]).await;
    assert_eq!(service.asked.take(), ["1", "1 2", "2"]);
}

mod elsewhere {
    use super::{Asked, Cache, HashMap, PhantomData, RandomState, User, cached};

    pub(super) struct Repo<T> {
        pub(super) cache: Cache,
        pub(super) asked: Asked,
        pub(super) of: PhantomData<T>,
    }

    impl<T: Send + Sync> Repo<T> {
        #[cached(ttl = "1m", key_prefix = "repo_find")]
        pub(super) async fn find<X>(&self, id: u64) -> Option<User> {
            self.asked.note(&[id]);
            Some(User { id })
        }

        #[cached(batch = Self::find::<X>, crate = ::staleproof)]
        pub(super) async fn find_all<X>(&self, ids: &[u64]) -> HashMap<u64, User, RandomState> {
            self.asked.note(ids);
            ids.iter().map(|&id| (id, User { id })).collect()
        }
    }
}

#[tokio::test]
async fn generic_types_share_nothing_with_each_other() {
    let (cache, asked) = (Cache::memory(), Asked::default());
    let users = elsewhere::Repo::<u8> { cache: cache.clone(), asked: asked.clone(), of: PhantomData };
    let orders = elsewhere::Repo::<u16> { cache: cache.clone(), asked: asked.clone(), of: PhantomData };
    users.find::<u8>(1).await;
    users.find_all::<u8>(&[1, 2]).await;
    users.find_all::<u16>(&[1, 2]).await;
    orders.find_all::<u8>(&[1, 2]).await;
    orders.find::<u8>(2).await;
    assert_eq!(asked.take(), ["1", "2", "1 2", "1 2"]);
    cache.invalidate(keys![elsewhere::Repo::<u8>::find_all::<u8>(1)]).await;
    users.find::<u8>(1).await;
    orders.find::<u8>(1).await;
    assert_eq!(asked.take(), ["1"]);
}

#[async_trait]
trait Directory {
    async fn name(&self, id: u64) -> Answer<Option<String>>;
    async fn names(&self, ids: &[u64]) -> Answer<HashMap<u64, String>>;
}

#[cached_impl]
#[async_trait]
impl Directory for Service {
    #[cached(ttl = "1m", key_prefix = "directory_name")]
    async fn name(&self, id: u64) -> Answer<Option<String>> {
        self.asked.note(&[id]);
        Ok(Some(id.to_string()))
    }

    #[cached(batch = <Self as Directory>::name)]
    async fn names(&self, ids: &[u64]) -> Answer<HashMap<u64, String>> {
        self.asked.note(ids);
        Ok(ids.iter().map(|id| (*id, id.to_string())).collect())
    }
}

#[tokio::test]
async fn methods_of_traits_may_be_batches() {
    let service = service();
    let directory: &dyn Directory = &service;
    directory.name(1).await.expect("it never fails");
    let names = directory.names(&[1, 2]).await.expect("it never fails");
    assert_eq!(names, HashMap::from([(1, "1".to_owned()), (2, "2".to_owned())]));
    service.cache.invalidate(keys![<Service as Directory>::names(2)]).await;
    directory.name(2).await.expect("it never fails");
    assert_eq!(service.asked.take(), ["1", "2", "2"]);
}

static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// A single call of a free function.
#[cached(ttl = "1m", tags("free:{id}"))]
async fn free(id: u64) -> Option<u64> {
    FREE.lock().expect("no panic").push(1);
    Some(id)
}

#[cached(batch = free)]
async fn free_all(ids: &[u64]) -> HashMap<u64, u64> {
    FREE.lock().expect("no panic").push(ids.len());
    ids.iter().map(|id| (*id, *id)).collect()
}

#[cached(batch, ttl = "1m")]
async fn free_alone(ids: &[u64]) -> HashMap<u64, u64> {
    FREE.lock().expect("no panic").push(10 * ids.len());
    ids.iter().map(|id| (*id, *id)).collect()
}

#[tokio::test]
async fn functions_may_be_batches() {
    Cache::memory().install_global();
    free(1).await;
    assert_eq!(free_all(&[1, 2, 3]).await.len(), 3);
    Cache::global().invalidate(keys![free_all(2), tag("free:1")]).await;
    free(2).await;
    free_all(&[1, 2, 3]).await;
    assert_eq!(free_alone(&[1, 2]).await.len(), 2);
    Cache::global().invalidate(keys![free_alone(2)]).await;
    assert_eq!(free_alone(&[1, 2]).await.len(), 2);
    assert_eq!(*FREE.lock().expect("no panic"), [1, 2, 1, 1, 20, 10]);
}

#[tokio::test]
async fn its_future_may_be_sent() {
    let service = service();
    let call = {
        let service = service.clone();
        async move { (service.many(&[1, 2], "a").await, service.of_text(&["a"]).await) }
    };
    let (many, texts) = tokio::spawn(call).await.expect("it ends");
    assert_eq!((many.expect("it never fails").len(), texts.expect("it never fails").len()), (2, 1));
}
