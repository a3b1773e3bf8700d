//! A primary that sentinels name: found, left when they name another, and nothing stale over any of it.

mod common;

use std::time::{Duration, Instant};

use cache_core::{
    Outcome, Store,
    store::{Filled, HolderId, Link, Read, StoreError},
};
use cache_redis::{ConnectError, OnFailover, RedisConfig, RedisStore};
use common::*;
use test_support::{Options, RedisServer, SentinelGroup, SentinelOptions, unique};

const SECRET: &str = "hunter2";

/// A primary, two replicas and three sentinels.
fn group() -> Option<SentinelGroup> {
    SentinelGroup::start(SentinelOptions { replicas: 2, ..Default::default() })
}

/// The same, whose first primary does not listen when it is told to follow another: it remains one, and takes writes.
fn stubborn() -> Option<SentinelGroup> {
    let group = group()?;
    assert_eq!(group.servers[0].cli(&["ACL", "SETUSER", "default", "-replicaof", "-slaveof"]), "+OK");
    Some(group)
}

async fn connect(url: &str, namespace: &str) -> RedisStore {
    RedisStore::connect(config(url, namespace)).await.expect("the primary is there")
}

async fn refused(url: &str) -> ConnectError {
    let error = RedisStore::connect(RedisConfig::new(url)).await.expect_err(url);
    let told = format!("{error} {error:?}");
    assert!(!told.contains(SECRET), "{told}");
    error
}

/// Whether this server holds the entry.
fn holds(server: &RedisServer, namespace: &str, path: &str) -> bool {
    server.cli(&["EXISTS", &format!("{namespace}:{path}")]) == ":1"
}

/// Waits for all replicas to have what the primary has, and to have been running for long enough to be trusted.
fn in_step(group: &SentinelGroup) {
    let uptime = |server: &RedisServer| {
        let info = server.cli(&["INFO", "server"]);
        let line = info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")).map(str::trim);
        line.and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
    };
    let began = Instant::now();
    while !group.servers[0].is_in_step(2, Duration::from_millis(100))
        || group.servers.iter().any(|server| uptime(server) < 3)
    {
        assert!(began.elapsed() < Duration::from_secs(20), "the replicas are not in step");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a server is joined. An election may need a second round, which takes seconds.
async fn joined(store: &RedisStore) {
    let mut link = store.link().expect("Redis can be out of reach");
    let up = link.wait_for(|link| matches!(link, Link::Up));
    drop(tokio::time::timeout(Duration::from_secs(30), up).await.expect("a server is joined"));
}

/// Waits until a fill of the store arrives at this server.
async fn until_on(store: &RedisStore, server: &RedisServer, namespace: &str) {
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
async fn blocking<T: Send + 'static>(
    group: SentinelGroup,
    wait: impl FnOnce(&SentinelGroup) -> T + Send + 'static,
) -> (SentinelGroup, T) {
    let waited = tokio::task::spawn_blocking(move || {
        let waited = wait(&group);
        (group, waited)
    });
    waited.await.expect("it is there in time")
}

#[tokio::test]
async fn the_primary_is_found_through_any_sentinel() {
    let Some(group) = group() else { return };
    let namespace = unique("test");
    let at: Vec<_> = group.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
    let dead = format!("127.0.0.1:{}", RedisServer::reserve().port());
    let (service, url) = (group.service(), |hosts: &str| format!("redis+sentinel://{hosts}/{}", group.service()));
    for url in [
        group.url(),
        url(&at[1]),
        url(&format!("{dead},{}", at[2])),
        format!("{}/3?protocol=resp2", url(&at[0])),
        format!("valkey{}", url(&at[0]).trim_start_matches("redis")),
    ] {
        let store = connect(&url, &namespace).await;
        fill(&store, &page(7, 1), "one").await;
        assert!(hit(&store, &page(7, 1)).await.is_some(), "{url}");
        invalidate(&store, page(7, 1).into_entry()).await;
        assert!(format!("{store:?}").contains(service), "{store:?}");
    }
    let plain = RedisConfig::sentinel(service, [dead.as_str(), at[1].as_str()]).namespace(&namespace).require();
    let store = RedisStore::connect(plain).await.expect("the primary is there");
    fill(&store, &page(7, 1), "one").await;
    assert!(holds(&group.servers[0], &namespace, "page:7:1"));
}

#[tokio::test]
async fn what_is_wrong_with_the_sentinels_is_said() {
    let Some(group) = group() else { return };
    let at = format!("127.0.0.1:{}", group.sentinels[0].port());
    let error = refused(&format!("redis+sentinel://:{SECRET}@{at}/orders")).await;
    let ConnectError::UnknownService { service, known, .. } = &error else { panic!("{error}") };
    assert!(service == "orders" && known == &[group.service()], "{error}");
    assert!(error.to_string().ends_with(&format!("knows no service `orders`, only: {}", group.service())), "{error}");
    for path in ["", "/1", "?protocol=resp2"] {
        let error = refused(&format!("redis://{at}{path}")).await;
        assert!(error.to_string().ends_with("is a sentinel: use redis+sentinel://"), "{path}: {error}");
    }
    let bus = RedisServer::reserve().port().to_string();
    let clustered = ["--cluster-enabled", "yes", "--cluster-port", &bus].map(str::to_owned).to_vec();
    for (arguments, told) in [
        (vec![], "is a server, not a sentinel: use redis://"),
        (clustered, "is a node of a cluster: use redis+cluster://"),
    ] {
        let Some(server) = RedisServer::own_with(Options { arguments, ..Options::default() }) else { return };
        for options in ["", "?protocol=resp2"] {
            let error = refused(&format!("redis+sentinel://127.0.0.1:{}/orders{options}", server.port())).await;
            assert!(error.to_string().ends_with(told), "{error}");
        }
        // One that is right is enough.
        let (right, other) = (group.sentinels[0].port(), server.port());
        let url = format!("redis+sentinel://127.0.0.1:{other},127.0.0.1:{right}/{}", group.service());
        drop(connect(&url, &unique("test")).await);
    }
}

#[tokio::test]
async fn servers_and_sentinels_may_have_passwords_of_their_own() {
    let (password, sentinel_password) = (Some(SECRET.to_owned()), Some("sesame".to_owned()));
    let options = SentinelOptions { password, sentinel_password, ..Default::default() };
    let Some(group) = SentinelGroup::start(options) else { return };
    let at = format!("127.0.0.1:{}", group.sentinels[0].port());
    let url = |user: &str, options: &str| format!("redis+sentinel://{user}{at}/{}{options}", group.service());
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    for options in
        ["sentinel_pass=sesame", "sentinel_user=default&sentinel_pass=sesame", "sentinel_pass=sesame&protocol=2"]
    {
        let store = connect(&url(&format!(":{SECRET}@"), &format!("?{options}")), &unique("test")).await;
        fill(&store, &page(7, 1), "one").await;
    }
    let plain = RedisConfig::sentinel(group.service(), [at.as_str()]).credentials("", SECRET);
    let plain = plain.sentinel_credentials("", "sesame").namespace(unique("test")).require();
    fill(&RedisStore::connect(plain).await.expect("the primary is there"), &page(7, 1), "one").await;
    for options in
        ["", "?sentinel_pass=wrong", "?sentinel_user=app&sentinel_pass=sesame", "?sentinel_pass=wrong&protocol=2"]
    {
        let error = refused(&url(&format!(":{SECRET}@"), options)).await;
        assert!(matches!(error, ConnectError::SentinelAuth { .. }), "{options}: {error}");
        assert!(error.to_string().contains("sentinel_pass") && error.to_string().contains(&at), "{error}");
    }
    for user in ["", ":wrong@"] {
        let error = refused(&url(user, "?sentinel_pass=sesame")).await;
        assert!(matches!(error, ConnectError::Auth { .. }), "{user}: {error}");
    }
    let text = log.text();
    assert!(!text.contains(SECRET) && !text.contains("sesame"), "{text}");
}

#[tokio::test]
async fn a_user_of_the_sentinels_needs_few_commands() {
    let few = "+hello +auth +sentinel|myid +sentinel|master +sentinel|sentinels +sentinel|get-master-addr-by-name";
    for commands in [few, "+hello +auth +sentinel|get-master-addr-by-name"] {
        let Some(group) = stubborn() else { return };
        for sentinel in &group.sentinels {
            let rules = ["ACL", "SETUSER", "app", "on", ">sesame", "-@all"].into_iter().chain(commands.split(' '));
            assert_eq!(sentinel.cli(&rules.collect::<Vec<_>>()), "+OK");
        }
        let namespace = unique("test");
        let url = format!("{}?sentinel_user=app&sentinel_pass=sesame", group.url());
        let store = connect(&url, &namespace).await;
        fill(&store, &page(7, 1), "old").await;
        in_step(&group);
        group.fail_over();
        let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
        until_on(&store, &group.servers[next], &namespace).await;
    }
}

/// Invalidates `page:1:1` and `page:1:2`, of which the second is being loaded, where no replica hears of it, and then
/// kills the primary. `page:2:1` was invalidated by somebody who is gone.
async fn lose(group: &mut SentinelGroup, store: &RedisStore, namespace: &str) -> cache_core::store::Lease {
    let gone = connect(&group.url(), namespace).await;
    for owner in 1..=3 {
        fill(store, &page(owner, 1), "old").await;
    }
    let late = lease(store, &page(1, 2)).await;
    in_step(group);
    group.servers[1..].iter().for_each(RedisServer::stop);
    assert_eq!(group.servers[0].cli(&["CLIENT", "KILL", "TYPE", "replica"]), ":2");
    invalidate(&gone, page(2, 1).into_entry()).await;
    drop(gone);
    invalidate(store, page(1, 1).into_entry()).await;
    invalidate(store, page(1, 2).into_entry()).await;
    group.servers[0].kill();
    group.servers[1..].iter().for_each(RedisServer::cont);
    late
}

#[tokio::test]
async fn a_killed_primary_is_left_for_the_new_one_and_nothing_stale_is_served() {
    let Some(mut group) = group() else { return };
    let namespace = unique("test");
    let bound = Duration::from_millis(500);
    let store = RedisStore::connect(config(&group.url(), &namespace).call_timeout(bound)).await.unwrap();
    let late = lose(&mut group, &store, &namespace).await;
    until(&store, false).await;
    let outcome = store.invalidate(&[page(3, 1).into_entry()]).await.unwrap();
    assert_eq!(outcome, Outcome::Journaled);
    // No call waits for the failover.
    let (mut link, mut longest, began) = (store.link().unwrap(), Duration::ZERO, Instant::now());
    while !matches!(*link.borrow_and_update(), Link::Up) {
        let call = Instant::now();
        let read = store.read(&page(1, 1)).await;
        longest = longest.max(call.elapsed());
        assert!(!matches!(read, Ok(Read::Hit(_))), "invalidated");
        assert!(began.elapsed() < Duration::from_secs(30), "no new primary was joined");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(longest < bound * 2, "a call took {longest:?}");
    let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
    for owner in 1..=3 {
        assert_eq!(hit(&store, &page(owner, 1)).await, None, "{owner} was invalidated");
    }
    assert_eq!(store.fill(&page(1, 2), &late, bytes("late"), TTL).await.unwrap(), Filled::Refused);
    fill(&store, &page(1, 1), "new").await;
    assert_eq!(hit(&store, &page(1, 1)).await.as_deref(), Some("new"));
    assert!(holds(&group.servers[next], &namespace, "page:1:1"));
}

#[tokio::test]
async fn under_trust_hits_survive_the_failover_but_for_what_is_said_again() {
    let Some(mut group) = group() else { return };
    let namespace = unique("test");
    let url = format!("{}?on_failover=trust", group.url());
    let store = connect(&url, &namespace).await;
    let late = lose(&mut group, &store, &namespace).await;
    until(&store, false).await;
    assert_eq!(store.invalidate(&[page(1, 3).into_entry()]).await.unwrap(), Outcome::Journaled);
    joined(&store).await;
    assert_eq!(hit(&store, &page(3, 1)).await.as_deref(), Some("old"), "nobody invalidated it");
    assert_eq!(hit(&store, &page(1, 1)).await, None, "invalidated, and no replica had heard of it");
    assert_eq!(store.fill(&page(1, 2), &late, bytes("late"), TTL).await.unwrap(), Filled::Refused);
    // Which is what `trust` means, and shows that the replica did not hear.
    assert_eq!(hit(&store, &page(2, 1)).await.as_deref(), Some("old"), "invalidated by somebody who is gone");
    let other = RedisStore::connect(config(&group.url(), &namespace).on_failover(OnFailover::Trust)).await.unwrap();
    assert_eq!(hit(&other, &page(3, 1)).await.as_deref(), Some("old"));
    assert_eq!(hit(&other, &page(1, 1)).await, None);
}

#[tokio::test]
async fn a_stopped_primary_that_goes_on_after_the_failover_is_not_trusted_again() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    let store = connect(&group.url(), &namespace).await;
    fill(&store, &page(7, 1), "old").await;
    in_step(&group);
    group.servers[0].stop();
    until(&store, false).await;
    let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
    joined(&store).await;
    invalidate(&store, page(7, 1).into_entry()).await;
    group.servers[0].cont();
    let role = group.servers[0].cli(&["ROLE"]);
    assert!(role.contains("master") && holds(&group.servers[0], &namespace, "page:7:1"), "as before: {role}");
    fill(&store, &page(7, 2), "new").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(hit(&store, &page(7, 1)).await, None);
        assert_eq!(hit(&store, &page(7, 2)).await.as_deref(), Some("new"));
        let another = connect(&group.url(), &namespace).await;
        assert_eq!(hit(&another, &page(7, 2)).await.as_deref(), Some("new"), "joined the new one");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(group.servers[0].cli(&["ROLE"]).contains("master"), "nobody has told the old primary yet");
    assert!(holds(&group.servers[next], &namespace, "page:7:2"));
}

#[tokio::test]
async fn a_primary_that_does_not_know_of_its_successor_is_left_by_the_word_of_the_sentinels() {
    for options in ["", "?protocol=resp2"] {
        let Some(group) = stubborn() else { return };
        let namespace = unique("test");
        let store = connect(&format!("{}{options}", group.url()), &namespace).await;
        fill(&store, &page(7, 1), "old").await;
        in_step(&group);
        group.fail_over();
        let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
        until_on(&store, &group.servers[next], &namespace).await;
        let role = group.servers[0].cli(&["ROLE"]);
        assert!(role.contains("master") && holds(&group.servers[0], &namespace, "page:7:1"), "as before: {role}");
        assert_eq!(hit(&store, &page(7, 1)).await, None, "fenced");
    }
}

/// Commands a failover and waits for it on the thread that the store's own task needs, which so learns of it late.
fn fail_over_unnoticed(group: &SentinelGroup) -> usize {
    group.fail_over();
    group.wait_for_failover(0)
}

#[tokio::test]
async fn what_a_deposed_primary_acknowledges_does_not_count() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    let store = connect(&group.url(), &namespace).await;
    in_step(&group);
    fail_over_unnoticed(&group);
    let other = tokio::task::spawn_blocking({
        let (url, namespace) = (group.url(), namespace.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let other = connect(&url, &namespace).await;
                fill(&other, &page(7, 1), "old").await;
            });
        }
    });
    // Without an await in between: the store's own task has not run.
    while !other.is_finished() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(store.invalidate(&[page(7, 1).into_entry()]).await.unwrap(), Outcome::Journaled);
    joined(&store).await;
    assert_eq!(hit(&store, &page(7, 1)).await, None);
    assert_eq!(hit(&connect(&group.url(), &namespace).await, &page(7, 1)).await, None);
}

#[tokio::test]
async fn one_sentinel_that_knows_more_is_enough() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    let store = connect(&group.url(), &namespace).await;
    in_step(&group);
    let next = fail_over_unnoticed(&group);
    group.sentinels[1..].iter().for_each(RedisServer::stop);
    until_on(&store, &group.servers[next], &namespace).await;
}

#[tokio::test]
async fn a_hold_on_a_deposed_primary_is_none() {
    let Some(group) = stubborn() else { return };
    let store = connect(&group.url(), &unique("test")).await;
    in_step(&group);
    fail_over_unnoticed(&group);
    let held = store.hold(&[page(7, 1).into_entry()], HolderId::new(), LEASE).await;
    assert!(matches!(held, Err(StoreError::Unavailable)), "{held:?}");
}

#[tokio::test]
async fn a_primary_that_is_deposed_while_it_is_joined_is_not_used() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    in_step(&group);
    group.servers[0].stop();
    let patient = RedisConfig::new(group.url()).namespace(&namespace).connect_timeout(Duration::from_secs(60));
    let patient = patient.call_timeout(Duration::from_secs(2));
    // It waits for the one that is stopped.
    let connecting = tokio::spawn(RedisStore::connect(patient));
    let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
    group.servers[0].cont();
    let store = connecting.await.unwrap().expect("that it is not there is no error");
    joined(&store).await;
    fill(&store, &page(7, 1), "one").await;
    assert!(holds(&group.servers[next], &namespace, "page:7:1"));
}

#[tokio::test]
async fn a_primary_that_comes_back_to_power_as_it_was_is_cold() {
    let Some(group) = stubborn() else { return };
    let namespace = unique("test");
    let store = connect(&group.url(), &namespace).await;
    fill(&store, &page(7, 1), "old").await;
    in_step(&group);
    // Nobody but the first two can be elected.
    assert_eq!(group.servers[2].cli(&["CONFIG", "SET", "replica-priority", "0"]), "+OK");
    tokio::time::sleep(Duration::from_secs(2)).await;
    group.fail_over();
    let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
    assert_eq!(next, 1);
    until_on(&store, &group.servers[1], &namespace).await;
    invalidate(&store, page(7, 1).into_entry()).await;
    drop(store);
    group.fail_over();
    let (group, next) = blocking(group, |group| group.wait_for_failover(1)).await;
    assert_eq!(next, 0);
    assert!(holds(&group.servers[0], &namespace, "page:7:1"), "it has not heard of the invalidation");
    for _ in 0..2 {
        let fresh = connect(&group.url(), &namespace).await;
        until_on(&fresh, &group.servers[0], &namespace).await;
        assert_eq!(hit(&fresh, &page(7, 1)).await, None, "invalidated while another was the primary");
    }
    // Once is enough.
    let first = connect(&group.url(), &namespace).await;
    fill(&first, &page(7, 2), "new").await;
    let second = connect(&group.url(), &namespace).await;
    assert_eq!(hit(&second, &page(7, 2)).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn seeds_that_died_later_are_no_loss() {
    let Some(mut group) = group() else { return };
    let namespace = unique("test");
    let url = format!("redis+sentinel://127.0.0.1:{}/{}", group.sentinels[0].port(), group.service());
    let store = connect(&url, &namespace).await;
    fill(&store, &page(7, 1), "old").await;
    in_step(&group);
    group.sentinels[0].kill();
    group.servers[0].kill();
    until(&store, false).await;
    let (group, next) = blocking(group, |group| group.wait_for_failover(0)).await;
    joined(&store).await;
    fill(&store, &page(7, 1), "new").await;
    assert!(holds(&group.servers[next], &namespace, "page:7:1"));
}

#[tokio::test]
async fn without_any_sentinel_a_good_primary_is_kept() {
    let Some(mut group) = group() else { return };
    let store = connect(&group.url(), &unique("test")).await;
    let link = store.link().unwrap();
    fill(&store, &page(7, 1), "one").await;
    group.sentinels[0].stop();
    group.sentinels[1..].iter_mut().for_each(RedisServer::kill);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert!(hit(&store, &page(7, 1)).await.is_some());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!link.has_changed().unwrap(), "it was given up");
    // A new connection needs one of them.
    let error = RedisStore::connect(config(&group.url(), "test")).await.expect_err("nobody names the primary");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_sentinel_that_is_mistaken_has_no_say_against_the_others() {
    let (Some(group), Some(wrong)) = (group(), RedisServer::own()) else { return };
    let namespace = unique("test");
    let (service, port) = (group.service(), wrong.port().to_string());
    let mistaken = &group.sentinels[0];
    assert_eq!(mistaken.cli(&["SENTINEL", "REMOVE", service]), "+OK");
    assert_eq!(mistaken.cli(&["SENTINEL", "MONITOR", service, "127.0.0.1", &port, "2"]), "+OK");
    let store = connect(&group.url(), &namespace).await;
    let began = Instant::now();
    fill(&store, &page(7, 1), "one").await;
    while began.elapsed() < Duration::from_secs(2) {
        assert!(hit(&store, &page(7, 1)).await.is_some());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(holds(&group.servers[0], &namespace, "page:7:1") && !holds(&wrong, &namespace, "page:7:1"));
}

#[test]
fn a_store_that_outlives_its_runtime_asks_again_on_the_next() {
    let Some(group) = group() else { return };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime().block_on(connect(&group.url(), &unique("test")));
    runtime().block_on(async {
        // Finds the connection dead.
        drop(store.read(&page(7, 1)).await);
        joined(&store).await;
        fill(&store, &page(7, 1), "one").await;
        assert!(hit(&store, &page(7, 1)).await.is_some());
    });
}

#[tokio::test]
async fn a_service_that_comes_late_is_joined_when_it_is_there() {
    let Some(mut group) = group() else { return };
    group.sentinels.iter_mut().for_each(RedisServer::kill);
    let config = RedisConfig::new(group.url()).namespace(unique("test"));
    let store = RedisStore::connect(config).await.expect("that it is not there is no error");
    assert!(matches!(store.read(&page(7, 1)).await, Err(StoreError::Unavailable)));
    group.sentinels.iter_mut().for_each(RedisServer::restart);
    joined(&store).await;
    fill(&store, &page(7, 1), "one").await;
}
