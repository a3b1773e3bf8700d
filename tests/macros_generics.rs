//! Generic functions and types never share an entry between two types, and each type's entries can be invalidated.
#![deny(warnings, clippy::all, clippy::pedantic)]
#![allow(clippy::unused_async, reason = "the bodies are examples")]

use std::{
    any::type_name,
    marker::PhantomData,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::{Serialize, de::DeserializeOwned};
use staleproof::{Cache, KeyPart, cached, keys};

trait Entity: Send + Sync + 'static {
    type Id: KeyPart + Clone + Send + Sync;
    const NAME: &'static str;
}

mod one {
    pub(super) struct User;
}
mod two {
    pub(super) struct User;
}

impl Entity for one::User {
    type Id = i64;
    const NAME: &'static str = "one";
}
impl Entity for two::User {
    type Id = String;
    const NAME: &'static str = "two";
}

struct Repo<T, const N: usize = 0> {
    cache: Cache,
    of: PhantomData<T>,
    loads: Loads,
}

#[derive(Default)]
struct Loads(AtomicUsize);

impl Loads {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// How often a `count` of a type that is its test's own was loaded.
static COUNTS: AtomicUsize = AtomicUsize::new(0);

impl<T, const N: usize> Repo<T, N> {
    fn of(cache: &Cache) -> Self {
        Self { cache: cache.clone(), of: PhantomData, loads: Loads::default() }
    }
}

impl<T: Entity, const N: usize> Repo<T, N> {
    #[cached(ttl = "1m", key_prefix = "generics_find")]
    async fn find(&self, id: T::Id) -> String {
        let _ = id;
        self.loads.0.fetch_add(1, Ordering::SeqCst);
        format!("{} {N}", T::NAME)
    }

    /// Neither a receiver nor `Self` says that this belongs to a generic type.
    #[cached(ttl = "1m", key_prefix = "generics_count")]
    async fn count() -> String {
        if N == 1 || N == 2 {
            COUNTS.fetch_add(1, Ordering::SeqCst);
        }
        format!("{} {N}", T::NAME)
    }

    #[cached(ttl = "1m")]
    async fn both<U: Entity>(&self, id: u8) -> String {
        format!("{}-{}-{id}", T::NAME, U::NAME)
    }

    #[cached(ttl = "1m", skip(Self))]
    async fn for_all(&self) -> String {
        T::NAME.to_owned()
    }
}

#[cached(ttl = "1m")]
async fn name_of<T: ?Sized>() -> String {
    type_name::<T>().to_owned()
}

#[cached(ttl = "1m")]
async fn sized<const N: usize, const B: bool>(id: u8) -> String {
    format!("{N} {B} {id}")
}

#[cached(ttl = "1m")]
async fn echo<T>(value: T) -> T
where
    T: KeyPart + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    value
}

#[cached(ttl = "1m")]
async fn listed<K: KeyPart>(ids: &[K]) -> String {
    format!("{} {}", type_name::<K>(), ids.len())
}

#[derive(KeyPart)]
struct UserId(i64);
#[derive(KeyPart)]
struct OrderId(i64);
#[derive(KeyPart)]
enum Colour {
    Red,
}
#[derive(KeyPart)]
enum Wine {
    Red,
}

#[cached(ttl = "1m")]
async fn kind<K: KeyPart>(id: K) -> String {
    let _ = id;
    type_name::<K>().to_owned()
}

#[cached(ttl = "1m", skip(X))]
async fn without_the_type<X>(id: u8) -> String {
    format!("{} {id}", type_name::<X>())
}

mod first {
    #[staleproof::cached(ttl = "1m")]
    pub(super) async fn same_name() -> u8 {
        1
    }
}

mod second {
    #[staleproof::cached(ttl = "1m")]
    pub(super) async fn same_name() -> u8 {
        2
    }
}

#[tokio::test]
async fn methods_of_two_types_share_nothing() {
    let cache = Cache::memory();
    assert_eq!(Repo::<one::User>::of(&cache).find(7).await, "one 0");
    assert_eq!(Repo::<two::User>::of(&cache).find("7".to_owned()).await, "two 0");
    assert_eq!(Repo::<two::User, 1>::of(&cache).find("7".to_owned()).await, "two 1");
    assert_eq!(Repo::<one::User>::count().await, "one 0");
    assert_eq!(Repo::<two::User>::count().await, "two 0");
    assert_eq!(Repo::<two::User, 3>::count().await, "two 3");
    assert_eq!(Repo::<one::User>::of(&cache).both::<one::User>(1).await, "one-one-1");
    assert_eq!(Repo::<one::User>::of(&cache).both::<two::User>(1).await, "one-two-1");
    assert_eq!(Repo::<two::User>::of(&cache).both::<one::User>(1).await, "two-one-1");
}

#[tokio::test]
async fn functions_of_two_types_share_nothing() {
    assert_eq!(name_of::<one::User>().await, type_name::<one::User>());
    assert_eq!(name_of::<two::User>().await, type_name::<two::User>());
    assert_eq!(name_of::<str>().await, "str");
    assert_eq!(sized::<1, true>(1).await, "1 true 1");
    assert_eq!(sized::<1, false>(1).await, "1 false 1");
    assert_eq!(sized::<11, false>(1).await, "11 false 1");
    assert_eq!(echo(7_u8).await, 7_u8);
    assert_eq!(echo(7_u16).await, 7_u16);
    assert_eq!(echo("7".to_owned()).await, "7");
    assert_eq!(listed::<UserId>(&[]).await, format!("{} 0", type_name::<UserId>()));
    assert_eq!(listed::<OrderId>(&[]).await, format!("{} 0", type_name::<OrderId>()));
    assert_eq!(first::same_name().await, 1);
    assert_eq!(second::same_name().await, 2);
}

#[tokio::test]
async fn arguments_of_two_types_share_nothing() {
    assert!(kind(UserId(7)).await.ends_with("UserId"));
    assert!(kind(OrderId(7)).await.ends_with("OrderId"));
    assert!(kind(Colour::Red).await.ends_with("Colour"));
    assert!(kind(Wine::Red).await.ends_with("Wine"));
    assert_eq!(kind("Red").await, "&str");
    assert_eq!(kind(()).await, "()");
    assert!(kind(Some(OrderId(7))).await.ends_with("OrderId>"));
    assert!(kind(Some(UserId(7))).await.ends_with("UserId>"));
}

#[tokio::test]
async fn what_the_user_takes_out_is_shared() {
    let cache = Cache::memory();
    assert_eq!(Repo::<one::User>::of(&cache).for_all().await, "one");
    assert_eq!(Repo::<two::User>::of(&cache).for_all().await, "one");
    assert_eq!(without_the_type::<u8>(1).await, "u8 1");
    assert_eq!(without_the_type::<u16>(1).await, "u8 1");
}

#[test]
fn a_target_names_the_very_entry() {
    let paths = |targets: Vec<staleproof::Target>| targets.iter().map(ToString::to_string).collect::<Vec<_>>();
    let all = paths(keys![
        Repo::<one::User>::find(7),
        Repo::<one::User>::find(..),
        Repo::<two::User>::find("x"),
        Repo::<one::User>::count(),
        name_of::<one::User>(),
        sized::<1, true>(7),
        listed(&[UserId(1)]),
        kind(UserId(1)),
        kind(1),
        without_the_type(7),
    ]);
    assert!(all[0].starts_with("generics_find:Repo.User-") && all[0].ends_with(":7"), "{}", all[0]);
    assert_eq!(format!("{}:7", all[1].strip_suffix(":..").unwrap()), all[0]);
    assert!(all[2].starts_with("generics_find:Repo.User-") && all[2].ends_with(":x"), "{}", all[2]);
    assert_ne!(all[0].rsplit_once(':').unwrap().0, all[2].rsplit_once(':').unwrap().0);
    assert!(all[3].starts_with("generics_count:Repo.User-"), "{}", all[3]);
    assert!(all[4].starts_with("macros_generics.name_of:User-"), "{}", all[4]);
    assert!(all[5].starts_with("macros_generics.sized:1.true-") && all[5].ends_with(":7"), "{}", all[5]);
    assert_eq!(all[7], "macros_generics.kind:.macros_generics.UserId(1)");
    assert_eq!(all[8], "macros_generics.kind:1");
    assert_eq!(all[9], "macros_generics.without_the_type:7");
}

#[tokio::test]
async fn invalidating_one_type_spares_the_other() {
    let cache = Cache::memory();
    let (one, two) = (Repo::<one::User>::of(&cache), Repo::<two::User>::of(&cache));
    let fill = async || {
        one.find(7).await;
        two.find("7".to_owned()).await;
        (one.loads.take(), two.loads.take())
    };
    assert_eq!(fill().await, (1, 1));
    assert_eq!(fill().await, (0, 0));
    let _ = cache.invalidate(keys![Repo::<one::User>::find(..)]).await;
    assert_eq!(fill().await, (1, 0));
    let _ = cache.invalidate(keys![Repo::<two::User>::find("7")]).await;
    assert_eq!(fill().await, (0, 1));
}

#[tokio::test]
async fn what_knows_nothing_of_its_type_is_invalidated_by_it() {
    let loads = || COUNTS.swap(0, Ordering::SeqCst);
    Repo::<one::User, 1>::count().await;
    Repo::<one::User, 2>::count().await;
    loads();
    let _ = Cache::global().invalidate(keys![Repo::<one::User, 1>::count()]).await;
    Repo::<one::User, 2>::count().await;
    assert_eq!(loads(), 0);
    Repo::<one::User, 1>::count().await;
    assert_eq!(loads(), 1);
}
