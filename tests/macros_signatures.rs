//! Signatures: patterns, moves, lifetimes, generics, receivers, hygiene, attributes beside ours.
#![deny(warnings, clippy::all, clippy::pedantic)]
#![allow(clippy::unused_async, clippy::needless_pass_by_value, reason = "the bodies are examples")]

use std::{
    borrow::Cow,
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use staleproof::{Cache, KeyPart, Target, cached, invalidates, keys};

#[derive(Clone, KeyPart)]
struct Filter {
    id: i64,
    text: String,
}

#[derive(Clone, KeyPart)]
struct Borrowed<'a> {
    text: &'a str,
}

#[derive(Clone, Copy, KeyPart)]
struct OwnerId(i64);

struct Pool;

struct Service {
    cache: Cache,
    loads: AtomicUsize,
}

impl Service {
    fn new() -> Arc<Self> {
        Arc::new(Self { cache: Cache::memory(), loads: AtomicUsize::new(0) })
    }

    fn count(&self) {
        self.loads.fetch_add(1, Ordering::SeqCst);
    }

    fn loads(&self) -> usize {
        self.loads.swap(0, Ordering::SeqCst)
    }

    #[cached(ttl = "1m", tags("sum:{a}"))]
    async fn tuple(&self, (a, b): (i64, i64)) -> i64 {
        self.count();
        a + b
    }

    #[cached(ttl = "1m", key(id))]
    async fn destructured(&self, Filter { id, .. }: Filter) -> i64 {
        self.count();
        id
    }

    #[cached(ttl = "1m", tags("text:{filter.text}", "id:{}", filter.id + 1))]
    async fn moved(&self, filter: Filter, ids: Vec<i64>) -> String {
        self.count();
        drop(ids);
        filter.text
    }

    #[cached(ttl = "1m")]
    async fn mutable(&self, mut n: i64, _: bool, ref r: String) -> i64 {
        self.count();
        n += i64::try_from(r.len()).unwrap_or_default();
        n
    }

    #[cached(ttl = "1m", skip(pool))]
    async fn skipping(&self, pool: &Pool, id: i64) -> i64 {
        self.count();
        let _ = pool;
        id
    }

    #[cached(ttl = "1m", key(filter.id, owner))]
    async fn chosen(&self, filter: &Filter, owner: OwnerId) -> i64 {
        self.count();
        filter.id + owner.0
    }

    #[cached(ttl = "1m")]
    async fn lifetimes<'a>(
        &self,
        text: &'a str,
        other: Option<&str>,
        cow: Cow<'_, str>,
        borrowed: &Borrowed<'a>,
    ) -> String {
        self.count();
        format!("{text}{other:?}{cow}{}", borrowed.text)
    }

    #[cached(ttl = "1m", skip(unused, T))]
    async fn early_bound<'a, 'b, T: ToString + Sync + 'a>(
        &self,
        text: &'a str,
        more: Cow<'a, str>,
        unused: &'b T,
    ) -> String
    where
        'b: 'a,
    {
        #![allow(clippy::to_string_in_format_args, reason = "an attribute inside a body is kept")]
        self.count();
        format!("{text}{more}{}", unused.to_string())
    }

    #[cached(ttl = "1m")]
    async fn slices(&self, ids: &[i64], names: Vec<String>, shared: Arc<str>, boxed: Box<Filter>) -> usize {
        self.count();
        ids.len() + names.len() + shared.len() + boxed.text.len()
    }

    #[cached(ttl = "1m")]
    async fn anything(&self, id: impl KeyPart + Display) -> String {
        self.count();
        id.to_string()
    }

    #[cached(ttl = "1m")]
    async fn named_anything<K>(&self, id: K, page: Option<u32>) -> String
    where
        K: KeyPart + Display,
    {
        self.count();
        format!("{id}{page:?}")
    }

    #[cached(ttl = "1m")]
    async fn in_an_arc(self: Arc<Self>, id: i64) -> i64 {
        self.count();
        let this = self;
        drop(this);
        id
    }

    #[cached(ttl = "1m", cache = self.cache)]
    async fn hygienic(&self, key: i64, cache: i64, load: i64) -> i64 {
        self.count();
        key + cache + load
    }

    #[must_use]
    #[cached(ttl = "1m")]
    #[tracing::instrument(skip(self))]
    #[allow(unused_variables)]
    async fn instrumented(&self, id: i64, unused: i64) -> i64 {
        self.count();
        id
    }

    #[tracing::instrument(skip(self))]
    #[cached(ttl = "1m")]
    async fn instrumented_above(&self, id: i64) -> Result<i64, String> {
        self.count();
        if id == 0 {
            return Err("zero".to_owned());
        }
        Ok(id)
    }

    #[cached(ttl = "1m")]
    async fn r#type(&self, r#fn: i64) -> i64 {
        self.count();
        r#fn
    }

    #[cached(ttl = "1m")]
    pub(crate) async fn nothing(&self) -> i64 {
        self.count();
        1
    }

    #[invalidates(Self::nothing(), Self::r#type(..))]
    async fn touch(&self) {}

    #[cached(ttl = "1m")]
    async fn named(&self, name: &str) -> usize {
        self.count();
        name.len()
    }

    #[cached(ttl = "1m")]
    async fn listed(&self, ids: &[i64], shared: Arc<str>) -> usize {
        self.count();
        ids.len() + shared.len()
    }

    #[invalidates(|name| Self::named(name))]
    async fn text_by_value(&self) -> Result<String, ()> {
        Ok("seven".to_owned())
    }

    #[invalidates(|(ids, shared)| Self::listed(ids, shared), Self::named(&shared))]
    async fn lists_by_value(&self) -> (Vec<i64>, Arc<str>) {
        (vec![7], "seven".into())
    }
}

macro_rules! hits {
    ($service:ident, $call:expr, [$($target:tt)*]) => {{
        let _ = $service.cache.invalidate([Target::All]).await;
        let first = $call.await;
        assert_eq!($service.loads(), 1, "cold: {}", stringify!($call));
        assert_eq!($call.await, first);
        assert_eq!($service.loads(), 0, "warm: {}", stringify!($call));
        let _ = $service.cache.invalidate(keys![$($target)*]).await;
        assert_eq!($call.await, first);
        assert_eq!($service.loads(), 1, "invalidated by {}", stringify!($($target)*));
    }};
}

fn filter() -> Filter {
    Filter { id: 7, text: "seven".to_owned() }
}

#[tokio::test]
async fn patterns() {
    let service = Service::new();
    hits!(service, service.tuple((1, 2)), [Service::tuple((1, 2))]);
    hits!(service, service.tuple((1, 2)), [tag("sum:1")]);
    hits!(service, service.destructured(filter()), [Service::destructured(7)]);
    hits!(service, service.mutable(1, true, "x".to_owned()), [Service::mutable(1, true, "x")]);
}

#[tokio::test]
async fn arguments_moved_by_the_body() {
    let service = Service::new();
    let known = filter();
    hits!(service, service.moved(filter(), vec![1]), [Service::moved(known, [1])]);
    hits!(service, service.moved(filter(), vec![1]), [Service::moved(known, ..)]);
    hits!(service, service.moved(filter(), vec![1]), [tag("text:{known.text}")]);
    hits!(service, service.moved(filter(), vec![1]), [tag("id:{}", 8)]);
}

#[tokio::test]
async fn arguments_left_out_and_chosen() {
    let service = Service::new();
    hits!(service, service.skipping(&Pool, 7), [Service::skipping(7)]);
    hits!(service, service.chosen(&filter(), OwnerId(3)), [Service::chosen(7, OwnerId(3))]);
}

#[tokio::test]
async fn what_stands_for_a_parameter() {
    let service = Service::new();
    let owned = "b".to_owned();
    let text = String::from("a");
    let borrowed = Borrowed { text: &owned };
    let call = || service.lifetimes("a", Some("x"), "c".into(), &borrowed);
    hits!(service, call(), [Service::lifetimes(text, Some("x"), "c", borrowed)]);
    hits!(service, call(), [Service::lifetimes(&text, Some("x"), String::from("c"), &borrowed)]);
    hits!(service, call(), [Service::lifetimes(text.as_str(), ..)]);
    let none = || service.lifetimes("a", None, "c".into(), &borrowed);
    hits!(service, none(), [Service::lifetimes("a", None, ..)]);

    hits!(service, service.early_bound("a", "b".into(), &1), [Service::early_bound("a", "b")]);

    let ids = vec![1, 2];
    let call = || service.slices(&[1, 2], vec!["x".to_owned()], "s".into(), Box::new(filter()));
    let shared: Arc<str> = "s".into();
    hits!(service, call(), [Service::slices(ids, ["x".to_owned()], "s", filter())]);
    hits!(service, call(), [Service::slices([1, 2], vec!["x".to_owned()], shared, Box::new(filter()))]);
    hits!(service, call(), [Service::slices(&ids[..], &["x".to_owned()], &shared, &filter())]);
}

#[tokio::test]
async fn arguments_of_any_type() {
    let service = Service::new();
    assert_eq!(service.anything(7).await, "7");
    assert_eq!(service.anything("7").await, "7");
    assert_eq!(service.loads(), 2, "the number and the text are two entries");
    let id = 7_u8;
    let _ = service.cache.invalidate(keys![Service::anything(id)]).await;
    assert_eq!(service.anything("7").await, "7");
    assert_eq!(service.loads(), 0, "the text is untouched");
    hits!(service, service.anything("8"), [Service::anything(String::from("8"))]);
    hits!(service, service.anything(9), [Service::anything(9)]);
    hits!(service, service.named_anything('c', None), [Service::named_anything('c', None)]);
    hits!(service, service.named_anything('c', Some(1)), [Service::named_anything('c', ..)]);
}

#[tokio::test]
async fn receivers_hygiene_and_attributes() {
    let service = Service::new();
    hits!(service, service.clone().in_an_arc(7), [Service::in_an_arc(7)]);
    hits!(service, service.hygienic(1, 2, 3), [Service::hygienic(1, 2, ..)]);
    hits!(service, service.instrumented(1, 2), [Service::instrumented(1, 2)]);
    hits!(service, service.instrumented_above(1), [Service::instrumented_above(1)]);
    service.instrumented_above(0).await.unwrap_err();
    assert_eq!(service.loads(), 1);
    hits!(service, service.r#type(1), [Service::r#type(1)]);
    hits!(service, service.nothing(), [Service::nothing()]);
    hits!(service, service.nothing(), [Service::nothing(..)]);
    service.touch().await;
    service.nothing().await;
    service.r#type(1).await;
    assert_eq!(service.loads(), 2);
}

/// A binding of `|ok|` is a reference, and a place in a target is borrowed: `&&String` came where `&str` is asked for.
#[tokio::test]
async fn bindings_of_the_ok_value_stand_for_parameters() {
    let service = Service::new();
    service.named("seven").await;
    assert!(service.text_by_value().await.is_ok());
    service.named("seven").await;
    assert_eq!(service.loads(), 2);
    service.listed(&[7], "seven".into()).await;
    service.lists_by_value().await;
    service.listed(&[7], "seven".into()).await;
    service.named("seven").await;
    assert_eq!(service.loads(), 3);
}
