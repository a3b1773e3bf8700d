//! What the tests over sentinels share.

use std::time::{Duration, Instant};

use cache_core::{Store, store::Link};
use cache_redis::RedisStore;
use test_support::{RedisServer, SentinelGroup, SentinelOptions};

use super::{LEASE, LOAD, config, page};

/// A primary, two replicas and three sentinels.
pub(crate) fn group() -> Option<SentinelGroup> {
    SentinelGroup::start(SentinelOptions { replicas: 2, ..Default::default() })
}

/// The same, whose first primary does not listen when it is told to follow another: it remains one, and takes writes.
pub(crate) fn stubborn() -> Option<SentinelGroup> {
    let group = group()?;
    assert_eq!(group.servers[0].cli(&["ACL", "SETUSER", "default", "-replicaof", "-slaveof"]), "+OK");
    Some(group)
}

/// Whether this server holds the entry.
pub(crate) fn holds(server: &RedisServer, namespace: &str, path: &str) -> bool {
    server.cli(&["EXISTS", &format!("{namespace}:{path}")]) == ":1"
}

/// Waits for all replicas to have what the primary has, and to have been running for long enough to be trusted.
pub(crate) fn in_step(group: &SentinelGroup) {
    let uptime = |server: &RedisServer| {
        let info = server.cli(&["INFO", "server"]);
        let line = info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")).map(str::trim);
        line.and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
    };
    let began = Instant::now();
    while group.servers[0].cli(&["WAIT", "2", "100"]) != ":2" || group.servers.iter().any(|server| uptime(server) < 3) {
        assert!(began.elapsed() < Duration::from_secs(20), "the replicas are not in step");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a server is joined. An election may need a second round, which takes seconds.
pub(crate) async fn joined(store: &RedisStore) {
    let mut link = store.link().expect("Redis can be out of reach");
    let up = link.wait_for(|link| matches!(link, Link::Up));
    drop(tokio::time::timeout(Duration::from_secs(30), up).await.expect("a server is joined"));
}

/// Waits until a fill of the store arrives at this server.
pub(crate) async fn until_on(store: &RedisStore, server: &RedisServer, namespace: &str) {
    let began = Instant::now();
    for n in 1000.. {
        if let Ok(acquired) = store.acquire(&page(n, 1), LOAD, LEASE).await {
            drop(acquired);
            if holds(server, namespace, &format!("page:{n}:1")) {
                return;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the store has not joined the new primary");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What follows blocks this thread, which the store's own task needs.
pub(crate) async fn blocking<T: Send + 'static>(
    group: SentinelGroup,
    wait: impl FnOnce(&SentinelGroup) -> T + Send + 'static,
) -> (SentinelGroup, T) {
    let waited = tokio::task::spawn_blocking(move || {
        let waited = wait(&group);
        (group, waited)
    });
    waited.await.expect("it is there in time")
}

pub(crate) async fn connect(url: &str, namespace: &str) -> RedisStore {
    RedisStore::connect(config(url, namespace)).await.expect("the primary is there")
}

/// Commands a failover and waits for it on the thread that the store's own task needs, which so learns of it late.
pub(crate) fn fail_over_unnoticed(group: &SentinelGroup) -> usize {
    group.fail_over();
    group.wait_for_failover(0)
}
