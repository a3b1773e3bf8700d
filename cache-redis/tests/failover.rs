//! Servers that take over, step down, or come back from the past: nothing that was invalidated is served again.

mod common;

use std::time::{Duration, Instant};

use cache_core::{
    Key, Outcome, Store, Tag, Target,
    store::{Filled, StoreError},
};
use cache_redis::{OnFailover, RedisStore};
use common::*;
use test_support::{Proxy, RedisServer, unique};

/// A server and its replica, each behind a network that can fail.
struct Pair {
    primary: RedisServer,
    replica: RedisServer,
    /// Between the two.
    replication: Proxy,
    /// Between the store and the one in charge.
    front: Proxy,
    url: String,
}

impl Pair {
    fn start() -> Option<Self> {
        let (primary, replica) = (RedisServer::own()?, RedisServer::own()?);
        let replication = Proxy::start(([127, 0, 0, 1], primary.port()).into());
        assert_eq!(primary.cli(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]), "+OK");
        assert_eq!(replica.cli(&["REPLICAOF", "127.0.0.1", &replication.port().to_string()]), "+OK");
        let (front, url) = primary.behind_proxy();
        let pair = Self { primary, replica, replication, front, url };
        // A primary takes another id when its first replica comes: a store that is connected before would notice.
        pair.settle();
        Some(pair)
    }

    /// Waits until the replica has what the primary has, and has been running for a while.
    fn settle(&self) {
        let began = Instant::now();
        let uptime = || {
            let info = self.replica.cli(&["INFO", "server"]);
            let line = info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")).map(str::trim);
            line.and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
        };
        while !self.primary.is_in_step(1, Duration::from_millis(100)) || uptime() < 3 {
            assert!(began.elapsed() < Duration::from_secs(20), "the replica is not in step");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The replica takes over, with what it has.
    fn fail_over(&self) {
        assert_eq!(self.replica.cli(&["REPLICAOF", "NO", "ONE"]), "+OK");
        self.front.redirect(([127, 0, 0, 1], self.replica.port()).into());
    }
}

fn targets() -> [Target; 3] {
    [page(1, 1).into_entry(), Key::new("page").arg(&2).into_node(), Target::Tag(Tag::new("owner:").arg(&3))]
}

/// Invalidates three pages where the replica does not hear of it, and lets the replica take over.
async fn lose(pair: &Pair, store: &RedisStore, namespace: &str) {
    for owner in 1..=4 {
        fill(store, &page(owner, 1), "old").await;
    }
    let late = lease(store, &page(1, 2)).await;
    pair.settle();
    pair.replication.freeze();
    assert_eq!(store.invalidate(&targets()).await.unwrap(), Outcome::Applied);
    invalidate(store, page(1, 2).into_entry()).await;
    pair.fail_over();
    for name in ["page:1:1", "page:2#g", "#tag:owner:3#g", "page:1:2"] {
        let has = pair.replica.cli(&["EXISTS", &format!("{namespace}:{name}")]);
        assert_eq!(has, ":1", "the replica has {name} as it was");
    }
    until(store, false).await;
    until(store, true).await;
    let filled = store.fill(&page(1, 2), &late, bytes("late"), TTL).await.unwrap();
    assert_eq!(filled, Filled::Refused, "a load from before an invalidation that the replica had missed");
    for owner in 1..=3 {
        assert_eq!(hit(store, &page(owner, 1)).await, None, "{owner} was invalidated");
    }
}

#[tokio::test]
async fn a_promoted_replica_is_fenced() {
    let Some(pair) = Pair::start() else { return };
    let namespace = unique("test");
    let store = RedisStore::connect(config(&pair.url, &namespace)).await.unwrap();
    lose(&pair, &store, &namespace).await;
    assert_eq!(hit(&store, &page(4, 1)).await, None, "everything counts as invalidated");
    fill(&store, &page(1, 1), "new").await;
    assert_eq!(hit(&store, &page(1, 1)).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_promoted_replica_is_trusted_but_for_what_it_may_have_missed() {
    let Some(pair) = Pair::start() else { return };
    let namespace = unique("test");
    let store = RedisStore::connect(config(&pair.url, &namespace).on_failover(OnFailover::Trust)).await.unwrap();
    lose(&pair, &store, &namespace).await;
    assert_eq!(hit(&store, &page(4, 1)).await.as_deref(), Some("old"), "what nobody invalidated is still there");
    // For all who come later, too.
    let url = format!("{}?on_failover=trust", pair.replica.url());
    for url in [url, pair.replica.url()] {
        let other = RedisStore::connect(config(&url, &namespace)).await.unwrap();
        assert_eq!(hit(&other, &page(4, 1)).await.as_deref(), Some("old"));
        assert_eq!(hit(&other, &page(1, 1)).await, None);
    }
    fill(&store, &page(1, 1), "new").await;
    assert_eq!(hit(&store, &page(1, 1)).await.as_deref(), Some("new"));
}

/// Redis takes a new replication id then, and nothing tells that from a failover.
#[tokio::test]
async fn the_first_replica_of_a_primary_makes_the_namespace_cold_once() {
    let (Some(primary), Some(replica)) = (RedisServer::own(), RedisServer::own()) else { return };
    assert_eq!(primary.cli(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]), "+OK");
    let store = RedisStore::connect(config(&primary.url(), &unique("test"))).await.unwrap();
    fill(&store, &page(1, 1), "one").await;
    let attach = |replica: &RedisServer| {
        assert_eq!(replica.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]), "+OK");
    };
    attach(&replica);
    until(&store, false).await;
    until(&store, true).await;
    assert_eq!(hit(&store, &page(1, 1)).await, None);
    fill(&store, &page(1, 1), "one").await;
    assert!(primary.is_in_step(1, Duration::from_secs(20)));
    let Some(second) = RedisServer::own() else { return };
    attach(&second);
    assert!(primary.is_in_step(2, Duration::from_secs(20)));
    assert_eq!(hit(&store, &page(1, 1)).await.as_deref(), Some("one"), "later ones do not");
}

#[tokio::test]
async fn a_restart_from_an_old_file_serves_nothing_of_it() {
    for policy in [OnFailover::Fence, OnFailover::Trust] {
        let Some(mut server) = RedisServer::own() else { return };
        let namespace = unique("test");
        let config = config(&server.url(), &namespace).on_failover(policy);
        let store = RedisStore::connect(config).await.unwrap();
        let other = RedisStore::connect(common::config(&server.url(), &namespace)).await.unwrap();
        fill(&store, &page(1, 1), "old").await;
        let late = lease(&store, &page(1, 2)).await;
        assert_eq!(server.cli(&["SAVE"]), "+OK");
        // By somebody else who is gone then: nobody's ring knows of it.
        invalidate(&other, page(1, 1).into_entry()).await;
        invalidate(&other, page(1, 2).into_entry()).await;
        drop(other);
        server.kill();
        until(&store, false).await;
        server.restart();
        until(&store, true).await;
        assert_eq!(server.cli(&["EXISTS", &format!("{namespace}:page:1:1")]), ":1", "the file brought it back");
        assert_eq!(hit(&store, &page(1, 1)).await, None, "{policy:?}");
        assert_eq!(store.fill(&page(1, 2), &late, bytes("late"), TTL).await.unwrap(), Filled::Refused, "{policy:?}");
        assert_eq!(hit(&store, &page(1, 2)).await, None, "{policy:?}");
    }
}

#[tokio::test]
async fn a_primary_that_steps_down_or_is_isolated_is_noticed_within_a_second_and_without_a_call() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    let port = RedisServer::reserve().port().to_string();
    let steps: [[&[&str]; 2]; 2] = [
        [&["REPLICAOF", "127.0.0.1", &port], &["REPLICAOF", "NO", "ONE"]],
        [&["CONFIG", "SET", "min-replicas-to-write", "1"], &["CONFIG", "SET", "min-replicas-to-write", "0"]],
    ];
    for [down, up] in steps {
        fill(&ground.store, &page(7, 1), "old").await;
        server.cli(down);
        let noticed = until(&ground.store, false).await;
        assert!(noticed < Duration::from_secs(1), "{noticed:?}");
        let refused = ground.store.read(&page(7, 1)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable)), "{refused:?}");
        server.cli(up);
        until(&ground.store, true).await;
        invalidate(&ground.store, Target::All).await;
    }
}

#[tokio::test]
async fn a_server_that_became_another_under_the_connection_is_noticed_within_a_second() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    fill(&ground.store, &page(7, 1), "old").await;
    server.cli(&["DEBUG", "CHANGE-REPL-ID"]);
    assert!(until(&ground.store, false).await < Duration::from_secs(1));
    until(&ground.store, true).await;
    assert_eq!(hit(&ground.store, &page(7, 1)).await, None);
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_without_a_call() {
    let server = RedisServer::start();
    let config = config(&server.url(), &unique("test")).call_timeout(Duration::from_millis(50));
    let store = RedisStore::connect(config.connect_timeout(Duration::from_millis(200))).await.unwrap();
    server.stop();
    let noticed = until(&store, false).await;
    server.cont();
    assert!(noticed < Duration::from_secs(1), "{noticed:?}");
    until(&store, true).await;
}

#[tokio::test]
async fn a_server_that_is_too_slow_or_flaps_costs_few_timeouts_and_is_used_soon_after() {
    let server = RedisServer::start();
    let (front, url) = server.behind_proxy();
    let bound = Duration::from_millis(60);
    let store = RedisStore::connect(config(&url, &unique("test")).call_timeout(bound)).await.unwrap();
    let began = Instant::now();
    let mut timeouts = 0;
    while began.elapsed() < Duration::from_secs(3) {
        // Good for as long as it takes to be joined, and then no more.
        let is_up = matches!(*store.link().unwrap().borrow(), cache_core::store::Link::Up);
        front.delay(if is_up { bound * 2 } else { Duration::ZERO });
        timeouts += usize::from(matches!(store.read(&page(7, 1)).await, Err(StoreError::Timeout)));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((3..=16).contains(&timeouts), "{timeouts} timeouts in three seconds");
    // Too slow for calls all the time, though not for the steps of joining: it is not joined at all.
    front.delay(bound * 2 / 3);
    until(&store, false).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2_500) {
        assert!(matches!(store.read(&page(7, 1)).await, Err(StoreError::Unavailable)));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    front.delay(Duration::ZERO);
    let back = until(&store, true).await;
    assert!(back < Duration::from_secs(2), "{back:?}");
    fill(&store, &page(7, 1), "new").await;
}
