//! Redis absent, killed, frozen, cut off and back: no error and no hang reaches a caller, and what was invalidated
//! meanwhile stays invalidated.

mod source;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use source::{Service, Source};
use staleproof::{Cache, Degraded, Event, Health, Key, Outcome, Policy, keys};
use test_support::{RedisServer, unique};

/// Redis is used again within this time of its return.
const BACK: Duration = Duration::from_secs(2);

/// No call takes longer than this on top of its load.
const OVERHEAD: Duration = Duration::from_millis(150);

async fn connect(url: &str, namespace: &str) -> Cache {
    Cache::builder().namespace(namespace).redis(url).connect().await.expect("a Redis that is away is no error")
}

async fn becomes(cache: &Cache, wanted: fn(&Health) -> bool) -> Duration {
    let started = Instant::now();
    while !wanted(&cache.health()) {
        assert!(started.elapsed() < Duration::from_secs(10), "still {:?}", cache.health());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

fn is_connected(health: &Health) -> bool {
    matches!(health, Health::Connected)
}

fn is_degraded(health: &Health) -> bool {
    matches!(health, Health::Degraded { .. })
}

#[tokio::test]
async fn absent_at_the_start_is_joined_when_it_comes() {
    let mut redis = RedisServer::reserve();
    let namespace = unique("absent");
    let cache = connect(&redis.url(), &namespace).await;
    assert!(is_degraded(&cache.health()));
    let diagnosis = cache.doctor().await;
    assert!(diagnosis.findings.iter().any(|finding| finding.id == "out-of-reach"), "{diagnosis}");
    let service = Service::new(cache.clone(), &Source::new());
    for _ in 0..3 {
        assert_eq!(service.page(1, "a").await, 1);
    }
    assert_eq!(service.source.loads(), 1, "memory carries the service");

    redis.restart();
    let took = becomes(&cache, is_connected).await;
    assert!(took < BACK, "joined after {took:?}");
    service.page(2, "b").await;
    let other = Service::new(connect(&redis.url(), &namespace).await, &Source::new());
    assert_eq!(other.page(2, "b").await, 1);
    assert_eq!(other.source.loads(), 0, "what one instance stored is a hit in the other");
}

#[test]
fn a_cache_that_outlives_its_runtime_is_used_on_the_next() {
    let redis = RedisServer::start();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let first = runtime();
    let (cache, service) = first.block_on(async {
        let cache = connect(&redis.url(), &unique("runtimes")).await;
        let service = Service::new(cache.clone(), &Source::new());
        service.page(1, "a").await;
        (cache, service)
    });
    drop(first);
    runtime().block_on(async {
        let mut events = cache.events();
        assert_eq!(service.page(1, "a").await, 1, "from the source, over a connection that has died");
        assert!(becomes(&cache, is_connected).await < BACK);
        for expected in ["Degraded", "Recovered"] {
            let told = async {
                loop {
                    let event = events.next().await.expect("the cache is there");
                    if format!("{event:?}").starts_with(expected) {
                        return;
                    }
                }
            };
            tokio::time::timeout(BACK, told).await.unwrap_or_else(|_| panic!("{expected} was not told"));
        }
        let loads = service.source.loads();
        service.page(1, "a").await;
        service.page(1, "a").await;
        assert!(service.source.loads() <= loads + 1, "hits again");
        assert_eq!(cache.clear().await, Outcome::Applied);
    });
}

#[tokio::test]
async fn a_journal_file_is_written_in_an_outage_and_read_by_the_next_process() {
    let mut redis = RedisServer::reserve();
    let (namespace, path) = (unique("journal"), std::env::temp_dir().join(unique("staleproof-journal")));
    let open = || Cache::builder().namespace(&namespace).redis(redis.url()).journal_file(&path).connect();
    let queued = |cache: &Cache| match cache.health() {
        Health::Degraded { journal, .. } => journal,
        other => panic!("{other:?}"),
    };
    let cache = open().await.expect("a Redis that is away is no error");
    assert_eq!(cache.invalidate([Key::new("paged").into_node()]).await, Outcome::Journaled);
    drop(cache);
    let next = open().await.expect("a Redis that is away is no error");
    assert_eq!(queued(&next), 1, "as the file says");
    redis.restart();
    becomes(&next, is_connected).await;
    std::fs::remove_file(&path).expect("it is there");
}

#[tokio::test]
async fn required_and_absent_is_an_error() {
    let redis = RedisServer::reserve();
    let error = Cache::builder().redis(redis.url()).require_redis().connect().await.expect_err("it is not there");
    assert!(error.to_string().contains("cannot open the store"), "{error}");
}

/// Callers that come and go all the time, and the worst of what they saw.
struct Crowd {
    stop: Arc<AtomicBool>,
    worst: Arc<AtomicU64>,
    callers: Vec<tokio::task::JoinHandle<u64>>,
}

impl Crowd {
    fn start(cache: &Cache) -> Self {
        let (stop, worst) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let callers = (0..8_u32)
            .map(|caller| {
                let (cache, stop, worst) = (cache.clone(), Arc::clone(&stop), Arc::clone(&worst));
                tokio::spawn(async move {
                    let policy = Policy::new(Duration::from_millis(20));
                    let mut calls = 0;
                    while !stop.load(Ordering::SeqCst) {
                        let key = Key::new("crowd").arg(&caller).arg(&(calls % 5));
                        let started = Instant::now();
                        let value: u64 = cache
                            .get_or_load(&key, &policy, async || Ok::<_, Infallible>(7))
                            .await
                            .unwrap_or_else(|never| match never {});
                        assert_eq!(value, 7);
                        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                        worst.fetch_max(micros, Ordering::SeqCst);
                        calls += 1;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    calls
                })
            })
            .collect();
        Self { stop, worst, callers }
    }

    async fn end(self) -> Duration {
        self.stop.store(true, Ordering::SeqCst);
        for caller in self.callers {
            assert!(caller.await.expect("no caller panics") > 0);
        }
        Duration::from_micros(self.worst.load(Ordering::SeqCst))
    }
}

/// Runs a scenario that answers how soon Redis was used again and how long the worst call took. The machine itself may stall for a
/// moment, so it has three tries to stay within the bounds; errors and panics have none.
async fn within_bounds(scenario: impl AsyncFn() -> (Duration, Duration)) {
    let mut tries = Vec::new();
    for _ in 0..3 {
        let (back, worst) = scenario().await;
        if back < BACK && worst < OVERHEAD {
            return;
        }
        tries.push((back, worst));
    }
    panic!("used again after, and the worst call, three times: {tries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_back_during_the_run() {
    within_bounds(async || {
        let mut redis = RedisServer::start();
        let cache = connect(&redis.url(), &unique("killed")).await;
        let crowd = Crowd::start(&cache);
        tokio::time::sleep(Duration::from_millis(200)).await;
        redis.kill();
        becomes(&cache, is_degraded).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        redis.restart();
        let back = becomes(&cache, is_connected).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        (back, crowd.end().await)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_redis_holds_up_nobody() {
    within_bounds(async || {
        let redis = RedisServer::start();
        let cache = connect(&redis.url(), &unique("frozen")).await;
        let crowd = Crowd::start(&cache);
        tokio::time::sleep(Duration::from_millis(100)).await;
        redis.stop();
        becomes(&cache, is_degraded).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        redis.cont();
        let back = becomes(&cache, is_connected).await;
        (back, crowd.end().await)
    })
    .await;
}

#[tokio::test]
async fn listeners_are_told_of_an_outage_and_of_its_end() {
    let mut redis = RedisServer::start();
    let cache = connect(&redis.url(), &unique("told")).await;
    let mut events = cache.events();
    redis.kill();
    becomes(&cache, is_degraded).await;
    assert_eq!(events.next().await, Some(Event::Degraded));
    redis.restart();
    becomes(&cache, is_connected).await;
    assert!(matches!(events.next().await, Some(Event::Recovered { .. })));
}

#[tokio::test]
async fn an_invalidation_in_an_outage_is_in_force_here_at_once_and_everywhere_afterwards() {
    let redis = RedisServer::start();
    let (proxy, proxied) = redis.behind_proxy();
    let namespace = unique("journal");
    let source = Source::new();
    let cut_off = Service::new(connect(&proxied, &namespace).await, &source);
    let other = Service::new(connect(&redis.url(), &namespace).await, &source);
    assert_eq!(cut_off.page(7, "a").await, 1);
    assert_eq!(other.page(7, "a").await, 1);
    assert_eq!(source.loads(), 1);

    proxy.cut();
    becomes(&cut_off.cache, is_degraded).await;
    assert_eq!(cut_off.page(7, "a").await, 1, "loaded in degraded mode");
    let new = source.write();
    assert_eq!(cut_off.cache.invalidate(keys![Service::page(7, ..)]).await, Outcome::Journaled);
    assert_eq!(cut_off.page(7, "a").await, new, "in force here at once");
    assert!(matches!(cut_off.cache.health(), Health::Degraded { journal: 1, .. }), "{:?}", cut_off.cache.health());

    proxy.resume();
    becomes(&cut_off.cache, is_connected).await;
    assert_eq!(other.page(7, "a").await, new, "replayed before this instance trusts Redis again");
    assert_eq!(cut_off.page(7, "a").await, new);
}

#[tokio::test]
async fn an_invalidation_that_finds_the_link_dead_is_journaled_not_lost() {
    let redis = RedisServer::start();
    let (proxy, proxied) = redis.behind_proxy();
    let service = Service::new(connect(&proxied, &unique("dead_link")).await, &Source::new());
    assert_eq!(service.page(7, "a").await, 1);
    proxy.freeze();
    let new = service.source.write();
    let started = Instant::now();
    assert_eq!(service.cache.invalidate(keys![Service::page(7, "a")]).await, Outcome::Journaled);
    assert!(started.elapsed() < OVERHEAD, "{:?}", started.elapsed());
    assert_eq!(service.page(7, "a").await, new);
    proxy.resume();
    becomes(&service.cache, is_connected).await;
    assert_eq!(service.page(7, "a").await, new);
}

#[tokio::test]
async fn what_one_outage_left_in_memory_does_not_serve_in_the_next() {
    let redis = RedisServer::start();
    let (proxy, proxied) = redis.behind_proxy();
    let namespace = unique("two_outages");
    let source = Source::new();
    let service = Service::new(connect(&proxied, &namespace).await, &source);
    let other = Service::new(connect(&redis.url(), &namespace).await, &source);
    let mut expected = 1;
    for _ in 0..3 {
        proxy.cut();
        becomes(&service.cache, is_degraded).await;
        assert_eq!(service.page(7, "a").await, expected);
        proxy.resume();
        becomes(&service.cache, is_connected).await;
        expected = source.write();
        assert_eq!(other.cache.invalidate(keys![Service::page(7, "a")]).await, Outcome::Applied);
    }
}

/// What the stand-in kept was once taken for still valid, though it had been invalidated in Redis after the outage.
#[tokio::test]
async fn an_expired_value_of_an_outage_does_not_serve_once_redis_is_back() {
    let redis = RedisServer::start();
    let (proxy, proxied) = redis.behind_proxy();
    let cache = connect(&proxied, &unique("stale_outage")).await;
    proxy.cut();
    becomes(&cache, is_degraded).await;
    let policy = Policy::new(Duration::from_millis(50)).jitter(0.0).stale_if_error(Duration::from_secs(60));
    let key = Key::new("price").arg(&7);
    let old: Result<u32, &str> = cache.get_or_load(&key, &policy, async || Ok(1)).await;
    assert_eq!(old, Ok(1));
    tokio::time::sleep(Duration::from_millis(60)).await;

    let (loading, load_begins) = tokio::sync::oneshot::channel();
    let (fail, fails) = tokio::sync::oneshot::channel::<()>();
    let caller = tokio::spawn({
        let (cache, key) = (cache.clone(), key.clone());
        async move {
            let load = async || {
                loading.send(()).expect("the test waits");
                fails.await.expect("the test says when");
                Err::<u32, _>("the source is away")
            };
            cache.get_or_load(&key, &policy, load).await
        }
    });
    load_begins.await.expect("the value has expired");
    proxy.resume();
    becomes(&cache, is_connected).await;
    assert_eq!(cache.invalidate([key.into_entry()]).await, Outcome::Applied);
    fail.send(()).expect("the load waits");
    assert_eq!(caller.await.expect("no caller panics"), Err("the source is away"));
}

#[tokio::test]
async fn bypass_loads_each_time_and_remembers_nothing() {
    let redis = RedisServer::reserve();
    let cache =
        Cache::builder().redis(redis.url()).degraded(Degraded::Bypass).connect().await.expect("away is no error");
    let service = Service::new(cache.clone(), &Source::new());
    for new in 1..4 {
        assert_eq!(service.page(1, "a").await, new);
        service.source.write();
    }
    let total = cache.stats().total;
    assert_eq!((total.degraded, total.loads, total.held), (3, 3, 0), "no writer held anything");
}

#[tokio::test]
async fn in_degraded_mode_another_instances_write_is_seen_after_max_ttl_at_the_latest() {
    let redis = RedisServer::reserve();
    let degraded = Degraded::Memory { max_ttl: Duration::from_millis(200) };
    let cache = Cache::builder().redis(redis.url()).degraded(degraded).connect().await.expect("away is no error");
    let service = Service::new(cache, &Source::new());
    assert_eq!(service.page(1, "a").await, 1);
    assert_eq!(service.page(1, "a").await, 1);
    assert_eq!(service.source.loads(), 1, "memory carries the service");
    // Another instance writes; its invalidation does not arrive here.
    let new = service.source.write();
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(service.page(1, "a").await, new);
}
