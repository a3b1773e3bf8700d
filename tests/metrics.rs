//! What is published: the names, labels and values of the metrics, in one process and over a real Redis that is killed and comes back.

mod source;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use source::{Service, Source};
use staleproof::{Cache, Degraded, Health, Key, L1, MemoryStore, Outcome, Policy, Tag, Target, cached, keys};
use test_support::{RedisServer, unique};

/// A recorder of this thread, on which a test and its tasks run.
struct Recorded {
    snapshotter: Snapshotter,
    _here: metrics::LocalRecorderGuard<'static>,
}

/// The metrics by `name{label=value,…}`, without the namespace. Of a histogram the number of observations, and their sum.
#[derive(Debug, Default)]
struct Seen {
    values: BTreeMap<String, f64>,
    sums: BTreeMap<String, f64>,
    /// Every value of a label.
    labels: Vec<String>,
    undescribed: Vec<String>,
}

impl Recorded {
    fn new() -> Self {
        let recorder: &DebuggingRecorder = Box::leak(Box::default());
        Self { snapshotter: recorder.snapshotter(), _here: metrics::set_default_local_recorder(recorder) }
    }

    /// What this cache has published. Histograms begin anew each time.
    fn of(&self, cache: &Cache, namespace: &str) -> Seen {
        cache.publish_metrics();
        let mut seen = Seen::default();
        for (key, unit, description, value) in self.snapshotter.snapshot().into_vec() {
            let key = key.key();
            seen.labels.extend(key.labels().map(|label| label.value().to_owned()));
            if !key.labels().any(|label| (label.key(), label.value()) == ("namespace", namespace)) {
                continue;
            }
            let labels = key.labels().filter(|label| label.key() != "namespace");
            let labels: Vec<_> = labels.map(|label| format!("{}={}", label.key(), label.value())).collect();
            let name = format!("{}{{{}}}", key.name(), labels.join(","));
            if unit.is_none() || description.is_none() {
                seen.undescribed.push(name.clone());
            }
            let value = match value {
                #[allow(clippy::cast_precision_loss, reason = "tests count to less")]
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                #[allow(clippy::cast_precision_loss, reason = "tests count to less")]
                DebugValue::Histogram(times) => {
                    seen.sums.insert(name.clone(), times.iter().map(|time| time.into_inner()).sum());
                    times.len() as f64
                }
            };
            seen.values.insert(name, value);
        }
        seen
    }
}

impl Seen {
    #[track_caller]
    fn is(&self, expected: &[(&str, f64)]) {
        for (name, value) in expected {
            let found = self.values.get(&format!("staleproof_{name}"));
            assert_eq!(found, Some(value), "{name} in {:#?}", self.values);
        }
    }

    fn value(&self, name: &str) -> f64 {
        self.values.get(&format!("staleproof_{name}")).copied().unwrap_or(0.0)
    }

    /// The sum of a metric over its labels.
    fn sum(&self, name: &str) -> f64 {
        let prefix = format!("staleproof_{name}{{");
        self.values.iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(_, value)| value).sum()
    }
}

fn policy() -> Policy {
    Policy::new(Duration::from_secs(60))
}

async fn load(cache: &Cache, key: &Key) -> u32 {
    let Ok(value) = cache.get_or_load(key, &policy(), async || Ok::<_, Infallible>(7)).await;
    value
}

fn memory(namespace: &str) -> Cache {
    Cache::builder().namespace(namespace).build().expect("the settings are right")
}

async fn over(redis: &RedisServer, namespace: &str, l1: L1) -> Cache {
    let builder = Cache::builder().namespace(namespace).redis(redis.url()).l1(l1);
    builder.call_timeout(Duration::from_secs(2)).connect().await.expect("Redis is no error")
}

async fn becomes(cache: &Cache, wanted: fn(&Health) -> bool) {
    let began = Instant::now();
    while !wanted(&cache.health()) {
        assert!(began.elapsed() < Duration::from_secs(10), "still {:?}", cache.health());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_connected(health: &Health) -> bool {
    matches!(health, Health::Connected)
}

fn is_degraded(health: &Health) -> bool {
    matches!(health, Health::Degraded { .. })
}

#[cached(ttl = "1m", key_prefix = "picky", cache = cache, skip(cache), cache_if = |value| *value > 1)]
async fn picky(cache: &Cache, value: u32) -> u32 {
    value
}

/// Cannot be encoded.
#[derive(Clone)]
struct Odd;

impl serde::Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("odd"))
    }
}

impl<'de> serde::Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("odd"))
    }
}

/// Every call has one answer.
#[tokio::test]
async fn requests_in_memory() {
    let (recorded, namespace) = (Recorded::new(), unique("memory"));
    let service = Service::new(memory(&namespace), &Source::new());
    for _ in 0..4 {
        service.page(7, "a").await;
    }
    service.source.close();
    let leader = tokio::spawn({
        let service = service.clone();
        async move { service.page(8, "b").await }
    });
    service.source.reached().await;
    let followers: Vec<_> = (0..2)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { service.page(8, "b").await })
        })
        .collect();
    tokio::task::yield_now().await;
    service.source.open();
    leader.await.expect("it loads");
    for follower in followers {
        follower.await.expect("it is served");
    }
    load(&service.cache, &Key::new("by_hand").arg(&1)).await;
    load(&service.cache, &Key::new("by_hand").arg(&1)).await;
    let seen = recorded.of(&service.cache, &namespace);
    seen.is(&[
        ("requests_total{function=paged,outcome=l1_hit}", 3.0),
        ("requests_total{function=paged,outcome=miss}", 2.0),
        ("requests_total{function=paged,outcome=joined}", 2.0),
        ("requests_total{function=by_hand,outcome=l1_hit}", 1.0),
        ("requests_total{function=by_hand,outcome=miss}", 1.0),
        ("fills_total{function=paged}", 2.0),
        ("load_duration_seconds{function=paged,outcome=ok}", 2.0),
        ("load_errors_total{function=paged}", 0.0),
        ("l1_entries{}", 3.0),
        ("degraded{}", 0.0),
    ]);
    assert!((seen.sum("requests_total") - 9.0).abs() < f64::EPSILON, "{seen:#?}");
    assert!(seen.value("l1_bytes{}") > 0.0);
    assert_eq!(seen.undescribed, Vec::<String>::new());
}

#[tokio::test]
async fn requests_over_redis() {
    let (recorded, redis, namespace) = (Recorded::new(), RedisServer::start(), unique("requests"));
    let source = Source::new();
    let one = Service::new(over(&redis, &namespace, L1::Validated).await, &source);
    one.page(7, "a").await;
    one.page(7, "a").await;
    // Of one namespace, so they are published together.
    let other = Service::new(over(&redis, &namespace, L1::Off).await, &source);
    other.page(7, "a").await;
    other.page(7, "a").await;
    let hold = one.cache.hold(keys![Service::page(7, "a")], Duration::from_secs(10)).await.expect("Redis is there");
    other.page(7, "a").await;
    assert_eq!(hold.release().await, Outcome::Applied);
    let seen = recorded.of(&other.cache, &namespace);
    seen.is(&[
        ("requests_total{function=paged,outcome=miss}", 1.0),
        ("requests_total{function=paged,outcome=l1_hit}", 1.0),
        ("requests_total{function=paged,outcome=l2_hit}", 2.0),
        ("requests_total{function=paged,outcome=held}", 1.0),
        ("fills_total{function=paged}", 1.0),
        ("store_timeouts_total{store=redis}", 0.0),
        ("invalidation_duration_seconds{outcome=applied}", 1.0),
    ]);
    let trips = seen.value("store_round_trips_total{store=redis}");
    load(&other.cache, &Key::new("three").arg(&1)).await;
    let now = recorded.of(&one.cache, &namespace).value("store_round_trips_total{store=redis}");
    assert!(now >= trips + 3.0, "a read, a lease and a fill: {trips} and then {now}");
}

#[tokio::test]
async fn an_instance_that_is_gone_still_counts_and_holds_nothing() {
    let (recorded, namespace) = (Recorded::new(), unique("gone"));
    let (one, other) = (memory(&namespace), memory(&namespace));
    let elsewhere = memory(&unique("elsewhere"));
    let key = Key::new("square").arg(&1);
    for cache in [&one, &other, &elsewhere] {
        load(cache, &key).await;
    }
    let misses = "requests_total{function=square,outcome=miss}";
    recorded.of(&one, &namespace).is(&[(misses, 2.0), ("l1_entries{}", 2.0)]);
    drop(other);
    recorded.of(&one, &namespace).is(&[(misses, 2.0), ("l1_entries{}", 1.0)]);
}

/// Without anybody asking.
#[tokio::test]
async fn a_task_publishes() {
    let (recorded, namespace) = (Recorded::new(), unique("task"));
    let cache = memory(&namespace);
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let published = recorded.snapshotter.snapshot().into_vec();
        let of_this = |key: &metrics_util::CompositeKey| key.key().labels().any(|label| label.value() == namespace);
        if published.iter().any(|(key, ..)| of_this(key) && key.key().name() == "staleproof_l1_entries") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    drop(cache);
}

#[tokio::test]
async fn loads_that_fail_and_fills_that_are_refused() {
    let (recorded, namespace) = (Recorded::new(), unique("refused"));
    let service = Service::new(memory(&namespace), &Source::new());
    let key = Key::new("broken").arg(&1);
    let failed = service.cache.get_or_load(&key, &policy(), async || Err::<u32, _>("no")).await;
    assert_eq!(failed, Err("no"));
    service.source.close();
    let loading = tokio::spawn({
        let service = service.clone();
        async move { service.page(7, "a").await }
    });
    service.source.reached().await;
    assert_eq!(service.cache.invalidate(keys![Service::page(7, "a")]).await, Outcome::Applied);
    service.source.open();
    loading.await.expect("it loads");
    assert_eq!((picky(&service.cache, 1).await, picky(&service.cache, 2).await), (1, 2));
    let seen = recorded.of(&service.cache, &namespace);
    seen.is(&[
        ("load_errors_total{function=broken}", 1.0),
        ("load_duration_seconds{function=broken,outcome=error}", 1.0),
        ("fills_total{function=paged}", 0.0),
        ("fills_refused_total{function=paged,reason=lease_lost}", 1.0),
        ("fills_refused_total{function=paged,reason=store_error}", 0.0),
        ("fills_refused_total{function=paged,reason=unencodable}", 0.0),
        ("fills_refused_total{function=paged,reason=cache_if}", 0.0),
        ("fills_refused_total{function=picky,reason=cache_if}", 1.0),
        ("fills_total{function=picky}", 1.0),
    ]);
}

#[tokio::test]
async fn fills_that_cannot_be() {
    let (recorded, redis, namespace) = (Recorded::new(), RedisServer::start(), unique("fills"));
    let (network, url) = redis.behind_proxy();
    let cache = Cache::builder().namespace(&namespace).redis(url).connect().await.expect("Redis is there");
    let Ok(_) = cache.get_or_load(&Key::new("odd").arg(&1), &policy(), async || Ok::<_, Infallible>(Odd)).await;
    let key = Key::new("late").arg(&1);
    let Ok(_) = cache
        .get_or_load(&key, &policy(), async || {
            network.cut();
            Ok::<_, Infallible>(7)
        })
        .await;
    recorded.of(&cache, &namespace).is(&[
        ("fills_refused_total{function=odd,reason=unencodable}", 1.0),
        ("fills_refused_total{function=late,reason=store_error}", 1.0),
    ]);
}

#[tokio::test]
async fn invalidations_by_kind_and_outcome() {
    let (recorded, redis, namespace) = (Recorded::new(), RedisServer::reserve(), unique("kinds"));
    let key = Key::new("page").arg(&7);
    let targets = || {
        [
            key.clone().into_entry(),
            key.clone().into_node(),
            Target::Tag(Tag::new("owner:").arg(&7)),
            Target::Glob("page*".to_owned()),
            Target::All,
        ]
    };
    for (cache, outcome, label) in [
        (memory(&unique("kinds")), Outcome::Applied, "applied"),
        (over(&redis, &namespace, L1::Off).await, Outcome::Journaled, "journaled"),
    ] {
        let namespace = if outcome == Outcome::Applied { unique("kinds") } else { namespace.clone() };
        let cache = if outcome == Outcome::Applied { memory(&namespace) } else { cache };
        assert_eq!(cache.invalidate(targets()).await, outcome);
        assert_eq!(cache.invalidate([key.clone().into_node()]).await, outcome);
        let seen = recorded.of(&cache, &namespace);
        for (kind, count) in [("entry", 1.0), ("node", 2.0), ("tag", 1.0), ("glob", 1.0), ("all", 1.0)] {
            seen.is(&[(&format!("invalidations_total{{kind={kind},outcome={label}}}"), count)]);
        }
        seen.is(&[(&format!("invalidation_duration_seconds{{outcome={label}}}"), 2.0)]);
        assert!((seen.sum("invalidations_total") - 6.0).abs() < f64::EPSILON);
    }
}

/// Killed, with what it had saved, and started again.
#[tokio::test]
async fn an_outage() {
    let Some(mut redis) = RedisServer::own() else { return };
    let (recorded, namespace) = (Recorded::new(), unique("outage"));
    let cache = over(&redis, &namespace, L1::Off).await;
    let key = Key::new("square").arg(&1);
    load(&cache, &key).await;
    assert!(redis.save());
    recorded.of(&cache, &namespace).is(&[("outages_total{}", 0.0), ("store_fences_total{store=redis}", 0.0)]);
    redis.kill();
    becomes(&cache, is_degraded).await;
    for _ in 0..3 {
        load(&cache, &key).await;
    }
    for page in 0..5 {
        assert_eq!(cache.invalidate([Key::new("page").arg(&page).into_entry()]).await, Outcome::Journaled);
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let seen = recorded.of(&cache, &namespace);
    seen.is(&[
        ("requests_total{function=square,outcome=degraded}", 3.0),
        ("requests_total{function=square,outcome=miss}", 1.0),
        ("journal_depth{}", 5.0),
        ("degraded{}", 1.0),
        ("outages_total{}", 1.0),
        ("store_connections_lost_total{store=redis}", 1.0),
    ]);
    assert!((1.0..10.0).contains(&seen.value("degraded_seconds_total{}")), "{seen:#?}");
    redis.restart();
    becomes(&cache, is_connected).await;
    load(&cache, &key).await;
    let now = recorded.of(&cache, &namespace);
    now.is(&[
        ("journal_depth{}", 0.0),
        ("degraded{}", 0.0),
        ("outages_total{}", 1.0),
        ("store_replayed_total{store=redis}", 5.0),
        ("store_fences_total{store=redis}", 1.0),
        ("requests_total{function=square,outcome=miss}", 2.0),
    ]);
    assert!(now.value("degraded_seconds_total{}") >= seen.value("degraded_seconds_total{}"));
}

#[tokio::test]
async fn calls_without_an_answer() {
    let (recorded, redis, namespace) = (Recorded::new(), RedisServer::start(), unique("timeouts"));
    let (network, url) = redis.behind_proxy();
    let builder = Cache::builder().namespace(&namespace).redis(url).degraded(Degraded::Bypass);
    let cache = builder.call_timeout(Duration::from_millis(100)).connect().await.expect("Redis is there");
    recorded.of(&cache, &namespace).is(&[("store_timeouts_total{store=redis}", 0.0)]);
    network.freeze();
    load(&cache, &Key::new("square").arg(&1)).await;
    becomes(&cache, is_degraded).await;
    let seen = recorded.of(&cache, &namespace);
    assert!(seen.value("store_timeouts_total{store=redis}") >= 1.0, "{seen:#?}");
    seen.is(&[("store_errors_total{function=square}", 1.0), ("requests_total{function=square,outcome=miss}", 1.0)]);
}

#[tokio::test]
async fn the_lag_until_another_instance_has_dropped_its_copies() {
    let (recorded, redis, namespace) = (Recorded::new(), RedisServer::start(), unique("lag"));
    let source = Source::new();
    let one = Service::new(over(&redis, &namespace, L1::Leased).await, &source);
    let other = Service::new(over(&redis, &namespace, L1::Leased).await, &source);
    let (mut lags, mut sum, began) = (0.0, 0.0, Instant::now());
    while lags < 3.0 {
        one.page(7, "a").await;
        other.page(7, "a").await;
        assert_eq!(one.cache.invalidate(keys![Service::page(7, "a")]).await, Outcome::Applied);
        let seen = recorded.of(&one.cache, &namespace);
        lags += seen.value("invalidation_lag_seconds{}");
        sum += seen.sums.get("staleproof_invalidation_lag_seconds{}").copied().unwrap_or(0.0);
        assert!(began.elapsed() < Duration::from_secs(20), "no lag is told");
    }
    assert!(sum > 0.0 && sum < 1.1 * lags, "{sum} in {lags}");
}

/// It does not answer: the lag is the rest of its lease.
#[tokio::test]
async fn the_lag_until_a_frozen_instance_may_serve_nothing_any_more() {
    let (recorded, redis, namespace) = (Recorded::new(), RedisServer::start(), unique("frozen"));
    let (network, url) = redis.behind_proxy();
    let source = Source::new();
    let one = Service::new(over(&redis, &namespace, L1::Leased).await, &source);
    let builder = Cache::builder().namespace(&namespace).redis(url).l1(L1::Leased).call_timeout(Duration::from_secs(5));
    let frozen = Service::new(builder.connect().await.expect("Redis is there"), &source);
    let began = Instant::now();
    loop {
        // It is a member once it acknowledges.
        frozen.page(7, "a").await;
        one.cache.invalidate(keys![Service::page(7, "a")]).await;
        if recorded.of(&one.cache, &namespace).value("invalidation_lag_seconds{}") > 0.0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it never becomes a member");
    }
    network.freeze();
    let before = Instant::now();
    assert_eq!(one.cache.invalidate(keys![Service::page(7, "a")]).await, Outcome::Applied);
    let took = before.elapsed().as_secs_f64();
    let seen = recorded.of(&one.cache, &namespace);
    let lag = seen.sums.get("staleproof_invalidation_lag_seconds{}").copied().unwrap_or(0.0);
    assert!(lag > 0.5 && lag <= took, "{lag} of {took}: {seen:#?}");
}

#[tokio::test]
async fn a_write_that_does_not_invalidate() {
    let (recorded, namespace) = (Recorded::new(), unique("verify"));
    let cache = Cache::builder().namespace(&namespace).verify(1.0).build().expect("the settings are right");
    let service = Service::new(cache, &Source::new());
    service.page(7, "a").await;
    service.page(7, "a").await;
    service.source.write();
    service.page(7, "a").await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    recorded.of(&service.cache, &namespace).is(&[
        ("verified_total{function=paged}", 2.0),
        ("verify_mismatches_total{function=paged}", 1.0),
        ("requests_total{function=paged,outcome=l1_hit}", 2.0),
    ]);
}

/// Without the store an instance may serve what others have changed: that is no write that does not invalidate.
#[tokio::test]
async fn hits_of_an_outage_are_not_verified() {
    let (recorded, namespace) = (Recorded::new(), unique("verify"));
    let builder = Cache::builder().namespace(&namespace).redis("redis://127.0.0.1:1").verify(1.0);
    let service = Service::new(builder.connect().await.expect("no Redis is no error"), &Source::new());
    service.page(7, "a").await;
    service.source.write();
    service.page(7, "a").await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    recorded.of(&service.cache, &namespace).is(&[
        ("verified_total{function=paged}", 0.0),
        ("verify_mismatches_total{function=paged}", 0.0),
        ("requests_total{function=paged,outcome=degraded}", 2.0),
    ]);
}

#[tokio::test]
async fn evictions_from_memory() {
    let (recorded, namespace) = (Recorded::new(), unique("evictions"));
    let store = Arc::new(MemoryStore::new(64 << 10));
    let cache = Cache::builder().namespace(&namespace).store(store.clone()).build().expect("the settings are right");
    for number in 0..2_000 {
        load(&cache, &Key::new("number").arg(&number)).await;
    }
    let seen = recorded.of(&cache, &namespace);
    assert!(seen.value("l1_evictions_total{}") > 100.0, "{seen:#?}");
    #[allow(clippy::cast_precision_loss, reason = "few bytes")]
    seen.is(&[("l1_bytes{}", store.bytes() as f64), ("l1_entries{}", store.entries() as f64)]);
}

/// A label is the prefix of a function or a word, whatever keys are made of, and there is an end to them.
#[tokio::test]
async fn no_label_holds_a_key() {
    let (recorded, namespace) = (Recorded::new(), unique("labels"));
    let cache = memory(&namespace);
    let begin = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(begin);
    for number in 0..10_000_u32 {
        let secret = format!("secret{}", random.u64(..));
        let prefix = if number < 500 { "known".to_owned() } else { format!("prefix{number}") };
        let key = Key::new(&prefix).arg(&secret).arg(&random.i32(..)).tag(Tag::new("tag:").arg(&secret));
        match random.u8(..4) {
            0 => drop(cache.get_or_load(&key, &policy(), async || Err::<u32, _>("no")).await),
            1 => drop(cache.invalidate([key.into_entry(), Target::Tag(Tag::new("tag:").arg(&secret))]).await),
            2 => drop(cache.invalidate([key.into_node()]).await),
            _ => drop(load(&cache, &key).await),
        }
    }
    cache.invalidate_matching("*secret1*").await;
    let seen = recorded.of(&cache, &namespace);
    let leaked: Vec<_> = seen.labels.iter().filter(|label| label.contains("secret") || label.contains(':')).collect();
    assert_eq!(leaked, Vec::<&String>::new(), "seed {begin}");
    let functions: std::collections::BTreeSet<_> =
        seen.labels.iter().filter(|label| label.starts_with("prefix") || *label == "known").collect();
    assert_eq!(functions.len(), 4_096, "more of them share a row");
}
