//! Copies in the memory of two instances over one real Redis: what a hit asks of Redis in each mode, and that nothing stale is served.

mod source;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use source::{Service, Source};
use staleproof::{Cache, L1, Outcome, cached, keys};
use test_support::{RedisServer, unique};

struct Two {
    redis: RedisServer,
    source: Arc<Source>,
    one: Service,
    other: Service,
}

impl Two {
    async fn new(mode: L1) -> Self {
        let redis = RedisServer::start();
        let (namespace, source) = (unique("l1"), Source::new());
        let connect = async || {
            let builder =
                Cache::builder().namespace(&namespace).redis(redis.url()).l1(mode).call_timeout(Duration::from_secs(2));
            Service::new(builder.connect().await.expect("Redis is there"), &source)
        };
        let (one, other) = (connect().await, connect().await);
        Self { redis, source, one, other }
    }

    /// How many commands Redis has executed for clients, renewals and heartbeats included.
    fn commands(&self, name: &str) -> u64 {
        let stats = self.redis.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|line| line.split(',').next()).and_then(|calls| calls.parse().ok()).unwrap_or(0)
    }

    async fn write(&self, by: &Service) -> u64 {
        let new = self.source.write();
        assert_eq!(by.cache.invalidate(keys![Service::page(7, "a")]).await, Outcome::Applied);
        new
    }
}

fn copies(of: &Service) -> u64 {
    of.cache.stats().total.l1_hits
}

/// Waits until hits are served without a question, which takes a renewal.
async fn leased(service: &Service, redis: impl Fn() -> u64) {
    let began = Instant::now();
    loop {
        service.page(7, "a").await;
        let before = redis();
        service.page(7, "a").await;
        if redis() == before {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no lease is granted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Texts {
    cache: Cache,
}

impl Texts {
    #[cached(ttl = "1m", key_prefix = "l1_text")]
    async fn text(&self, length: usize) -> String {
        "x".repeat(length)
    }
}

#[tokio::test]
async fn a_validated_hit_carries_no_value_unless_it_is_small() {
    let two = Two::new(L1::Validated).await;
    let texts = Texts { cache: two.other.cache.clone() };
    for (length, heads) in [(10, 0), (1_000, 1)] {
        assert_eq!(texts.text(length).await.len(), length);
        let before = [two.commands("getrange"), two.commands("mget"), copies(&two.other)];
        assert_eq!(texts.text(length).await.len(), length);
        let now = [two.commands("getrange"), two.commands("mget"), copies(&two.other)];
        assert_eq!(now, [before[0] + heads, before[1] + 1, before[2] + 1], "{length}");
    }
}

#[tokio::test]
async fn a_validated_hit_is_not_stale() {
    let two = Two::new(L1::Validated).await;
    for service in [&two.one, &two.other] {
        assert_eq!((service.page(7, "a").await, service.page(7, "a").await), (1, 1));
    }
    let copied = copies(&two.other);
    assert_eq!(two.other.page(7, "a").await, 1);
    assert_eq!(copies(&two.other), copied + 1);
    let new = two.write(&two.one).await;
    assert_eq!((two.other.page(7, "a").await, two.one.page(7, "a").await), (new, new));
    assert_eq!(two.source.loads(), 2);
}

#[tokio::test]
async fn a_leased_hit_asks_nothing_and_an_invalidation_elsewhere_ends_it() {
    let two = Two::new(L1::Leased).await;
    let asked = || two.commands("getrange") + two.commands("mget");
    for _ in 0..10 {
        leased(&two.other, asked).await;
        let loads = two.source.loads();
        let new = two.write(&two.one).await;
        assert_eq!(two.other.page(7, "a").await, new, "at once");
        assert_eq!(two.one.page(7, "a").await, new);
        assert_eq!(two.source.loads(), loads + 1);
    }
}

#[tokio::test]
async fn one_that_has_left_asks_before_each_hit_and_is_not_waited_for() {
    let two = Two::new(L1::Leased).await;
    let asked = || two.commands("getrange") + two.commands("mget");
    leased(&two.other, asked).await;
    two.other.cache.leave().await;
    let members = two.redis.cli(&["EVAL", "return redis.call('HLEN', redis.call('KEYS', '*:#members')[1])", "0"]);
    assert_eq!(members, ":1", "a note, and nobody: the other instance has no copies yet");
    let (before, old) = (asked(), two.other.page(7, "a").await);
    assert!(asked() > before, "it asks");
    assert_eq!(old, two.one.page(7, "a").await);
    let new = two.write(&two.one).await;
    assert_eq!(two.other.page(7, "a").await, new, "at once");
}

#[tokio::test]
async fn what_was_invalidated_while_redis_was_away_is_served_by_nobody_when_it_is_back() {
    let mut two = Two::new(L1::Leased).await;
    leased(&two.other, || two.commands("getrange") + two.commands("mget")).await;
    two.redis.kill();
    // In force in the instance that writes; the other one has its lease and then its stand-in, as in any outage.
    let new = two.source.write();
    assert_eq!(two.one.cache.invalidate(keys![Service::page(7, "a")]).await, Outcome::Journaled);
    assert_eq!(two.one.page(7, "a").await, new);
    two.redis.restart();
    let began = Instant::now();
    for service in [&two.one, &two.other] {
        while !matches!(service.cache.health(), staleproof::Health::Connected) {
            assert!(began.elapsed() < Duration::from_secs(20), "not connected again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!((two.one.page(7, "a").await, two.other.page(7, "a").await), (new, new));
}

#[tokio::test]
async fn a_bounded_copy_is_as_stale_as_its_bound_allows() {
    let two = Two::new(L1::For(Duration::from_millis(500))).await;
    for service in [&two.one, &two.other] {
        service.page(7, "a").await;
    }
    let copied = copies(&two.other);
    two.other.page(7, "a").await;
    assert_eq!(copies(&two.other), copied + 1);
    let new = two.write(&two.one).await;
    assert_eq!(two.one.page(7, "a").await, new, "its own writes it sees at once");
    tokio::time::sleep(Duration::from_millis(520)).await;
    assert_eq!(two.other.page(7, "a").await, new);
}
