//! Spans and their fields, over a real Redis, and that a storm of failures does not fill the log.

mod source;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use source::{Service, Source};
use staleproof::{Cache, Health, Key, L1, Outcome, Policy, keys};
use test_support::{RedisServer, unique};
use tracing::{
    Event, Instrument as _, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

/// What was collected on this thread, on which a test and its tasks run.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Traces>>);

#[derive(Default)]
struct Traces {
    spans: Vec<Span>,
    /// Where the last span of an id is.
    places: BTreeMap<u64, usize>,
    /// Level and text of what was logged.
    lines: Vec<(Level, String)>,
}

#[derive(Clone, Debug)]
struct Span {
    metadata: &'static Metadata<'static>,
    parent: Option<usize>,
    fields: BTreeMap<&'static str, String>,
    /// The number in the order of beginnings, and of the first that began after this one had ended.
    number: usize,
    ended: Option<usize>,
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Collected {
    fn begin() -> (Self, DefaultGuard) {
        let collected = Self::default();
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(collected.clone()));
        (collected, guard)
    }

    fn traces(&self) -> MutexGuard<'_, Traces> {
        self.0.lock().expect("no test panics while it traces")
    }

    /// The spans of this name, with the path of the spans around each.
    fn spans(&self, name: &str) -> Vec<(Vec<&'static str>, Span)> {
        let traces = self.traces();
        let found = traces.spans.iter().filter(|span| span.metadata.name() == name);
        let around = |span: &Span| {
            let parents = std::iter::successors(span.parent, |parent| traces.spans[*parent].parent);
            parents.map(|parent| traces.spans[parent].metadata.name()).collect()
        };
        found.map(|span| (around(span), span.clone())).collect()
    }

    fn clear(&self) {
        // Numbers stay what they are.
        self.traces().lines.clear();
    }

    /// How many lines an operator sees.
    fn warnings(&self) -> Vec<String> {
        let lines = self.traces();
        lines.lines.iter().filter(|(level, _)| *level <= Level::WARN).map(|(_, line)| line.clone()).collect()
    }

    fn has_line(&self, text: &str) -> bool {
        self.traces().lines.iter().any(|(_, line)| line.contains(text))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collected {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("cache_") || metadata.target() == "traces"
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("it is new");
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let mut traces = self.traces();
        let parent = span.parent().map(|parent| traces.places[&parent.id().into_u64()]);
        let place = traces.spans.len();
        traces.places.insert(id.into_u64(), place);
        traces.spans.push(Span { metadata: attributes.metadata(), parent, fields, number: place, ended: None });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut traces = self.traces();
        let place = traces.places[&id.into_u64()];
        values.record(&mut Fields(&mut traces.spans[place].fields));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut traces = self.traces();
        let (place, now) = (traces.places[&id.into_u64()], traces.spans.len());
        traces.spans[place].ended = Some(now);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        self.traces().lines.push((*event.metadata().level(), format!("{fields:?}")));
    }
}

#[track_caller]
fn has(span: &Span, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(span.fields.get(name).map(String::as_str), Some(*value), "{name} of {span:#?}");
    }
}

async fn over(redis: &RedisServer, l1: L1) -> Cache {
    let builder = Cache::builder().namespace(unique("traces")).redis(redis.url()).l1(l1);
    builder.call_timeout(Duration::from_secs(2)).connect().await.expect("Redis is there")
}

async fn becomes(cache: &Cache, wanted: fn(&Health) -> bool) {
    let began = Instant::now();
    while !wanted(&cache.health()) {
        assert!(began.elapsed() < Duration::from_secs(10), "still {:?}", cache.health());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The spans of round trips beneath a span of the test.
fn trips(collected: &Collected, beneath: &str) -> Vec<Span> {
    let all = collected.spans("redis").into_iter();
    all.filter(|(around, _)| around.contains(&beneath)).map(|(_, span)| span).collect()
}

fn operations(trips: &[Span]) -> Vec<&str> {
    let name = |span: &'_ Span| match span.fields.get("db.stored_procedure.name") {
        Some(_) => "db.stored_procedure.name",
        None => "db.operation.name",
    };
    trips.iter().map(|span| span.fields[name(span)].as_str()).collect()
}

#[tokio::test]
async fn a_miss_an_l2_hit_and_an_invalidation() {
    let redis = RedisServer::start();
    let (collected, _here) = Collected::begin();
    let service = Service::new(over(&redis, L1::Off).await, &Source::new());
    let miss = tracing::info_span!("the miss");
    service.page(7, "a").instrument(miss).await;
    service.page(7, "a").instrument(tracing::info_span!("the hit")).await;
    let invalidation = service.cache.invalidate(keys![Service::page(7, "a")]);
    assert_eq!(invalidation.instrument(tracing::info_span!("the write")).await, Outcome::Applied);

    let missed = trips(&collected, "the miss");
    assert_eq!(operations(&missed), ["MGET", "acquire", "fill"]);
    let (port, fill) = (redis.port().to_string(), missed[2].number);
    for trip in missed {
        assert_eq!(*trip.metadata.level(), Level::DEBUG);
        has(&trip, &[("db.system.name", "redis"), ("otel.kind", "client"), ("db.namespace", "0")]);
        has(&trip, &[("server.address", "127.0.0.1"), ("server.port", &port)]);
        assert_eq!(trip.fields["otel.name"], trip.fields["db.operation.name"]);
        assert!(!trip.fields.contains_key("error.type"));
    }
    assert_eq!(operations(&trips(&collected, "the hit")), ["MGET"]);
    let loads = collected.spans("load");
    let [(around, load)] = loads.as_slice() else { panic!("{loads:?}") };
    assert_eq!(*around, ["the miss"]);
    has(load, &[("otel.kind", "internal"), ("staleproof.function", "paged"), ("staleproof.entries", "1")]);
    assert!(load.ended.is_some_and(|ended| ended <= fill), "to store the value is no part of the load");
    let invalidations = collected.spans("invalidate");
    let [(around, invalidation)] = invalidations.as_slice() else { panic!("{invalidations:?}") };
    assert_eq!(*around, ["the write"]);
    has(invalidation, &[("staleproof.targets", "1"), ("staleproof.outcome", "applied")]);
    assert_eq!(operations(&trips(&collected, "invalidate")), ["PIPELINE EVALSHA"]);
    has(&trips(&collected, "invalidate")[0], &[("db.operation.batch.size", "2")]);
}

#[tokio::test]
async fn a_hit_in_memory_makes_no_span() {
    let (collected, _here) = Collected::begin();
    let service = Service::new(Cache::memory(), &Source::new());
    service.page(7, "a").await;
    let spans = collected.traces().spans.len();
    assert_eq!(spans, 1, "the load");
    for _ in 0..10 {
        service.page(7, "a").await;
    }
    assert_eq!(collected.traces().spans.len(), spans);
}

#[derive(Debug, PartialEq)]
struct NoSuchRow;

#[tokio::test]
async fn a_load_that_fails() {
    let (collected, _here) = Collected::begin();
    let (cache, policy) = (Cache::memory(), Policy::new(Duration::from_secs(60)));
    let key = Key::new("broken").arg(&"a secret");
    let load = async || {
        let inner = tracing::info_span!("the query");
        async { Err::<u32, _>(NoSuchRow) }.instrument(inner).await
    };
    assert_eq!(cache.get_or_load(&key, &policy, load).await, Err(NoSuchRow));
    let (_, load) = collected.spans("load").remove(0);
    has(&load, &[("error.type", "traces::NoSuchRow"), ("otel.status_code", "ERROR")]);
    assert_eq!(collected.spans("the query")[0].0, ["load"]);
    assert!(!format!("{:?}", collected.traces().spans).contains("secret"), "no span holds a key");
}

#[tokio::test]
async fn a_call_without_an_answer_and_one_that_is_refused() {
    let redis = RedisServer::start();
    let (network, url) = redis.behind_proxy();
    let (collected, _here) = Collected::begin();
    let builder = Cache::builder().namespace(unique("traces")).redis(url).l1(L1::Off);
    let cache = builder.call_timeout(Duration::from_millis(200)).connect().await.expect("Redis is there");
    let service = Service::new(cache, &Source::new());
    if let Some(own) = RedisServer::own() {
        let full = Service::new(over(&own, L1::Off).await, &Source::new());
        own.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        full.page(7, "a").instrument(tracing::info_span!("the refusal")).await;
        let refused = trips(&collected, "the refusal").into_iter().find(|trip| trip.fields.contains_key("error.type"));
        let refused = refused.expect("its memory is full");
        has(&refused, &[("error.type", "OOM"), ("db.response.status_code", "OOM"), ("otel.status_code", "ERROR")]);
    }
    network.freeze();
    service.page(7, "a").instrument(tracing::info_span!("the silence")).await;
    let silent = trips(&collected, "the silence");
    has(&silent[0], &[("error.type", "timeout"), ("otel.status_code", "ERROR"), ("db.operation.name", "MGET")]);
}

/// Thousands of calls and invalidations meet with an outage, and the log has one line for each change.
#[tokio::test]
async fn an_outage_is_a_few_lines() {
    let Some(mut redis) = RedisServer::own() else { return };
    let (collected, _here) = Collected::begin();
    let cache = over(&redis, L1::Validated).await;
    let policy = Policy::new(Duration::from_secs(60));
    let call = async |number: u32| {
        let key = Key::new("number").arg(&number);
        let Ok(_) = cache.get_or_load(&key, &policy, async || Ok::<_, Infallible>(number)).await;
    };
    for number in 0..100 {
        call(number).await;
    }
    assert!(redis.save());
    collected.clear();
    redis.kill();
    for number in 0..1_000 {
        call(number).await;
        cache.invalidate([Key::new("number").arg(&number).into_entry()]).await;
    }
    becomes(&cache, |health| matches!(health, Health::Degraded { .. })).await;
    let warnings = collected.warnings();
    assert!(warnings.len() <= 3, "{warnings:#?}");
    assert!(collected.has_line("lost Redis") && collected.has_line("invalidations are queued"), "{warnings:#?}");
    collected.clear();
    redis.restart();
    becomes(&cache, |health| matches!(health, Health::Connected)).await;
    for expected in ["counts as invalidated", "connected to Redis", "\"replayed\": \"1000\"", "\"away\""] {
        assert!(collected.has_line(expected), "{expected}: {:#?}", collected.traces().lines);
    }
    assert!(collected.warnings().len() <= 2, "{:#?}", collected.warnings());
}

/// Every hit shows it; the log says it once in a while.
#[tokio::test]
async fn a_write_that_does_not_invalidate_is_said_once() {
    let (collected, _here) = Collected::begin();
    let cache = Cache::builder().verify(1.0).build().expect("the settings are right");
    let service = Service::new(cache, &Source::new());
    let pages: Vec<_> = (0..50).map(|page| page.to_string()).collect();
    for page in &pages {
        service.page(7, page).await;
    }
    service.source.write();
    for page in &pages {
        service.page(7, page).await;
    }
    let began = Instant::now();
    while service.cache.stats().total.mismatched < 50 {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(collected.warnings().len(), 1, "{:#?}", collected.warnings());
}
