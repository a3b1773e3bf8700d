//! A primary that sentinels name: found, left when they name another, and nothing stale over any of it.

mod common;

use std::time::{Duration, Instant};

use cache_core::{
    Outcome, Store,
    store::{Filled, HolderId, Link, Read, StoreError},
};
use cache_redis::{ConnectError, OnFailover, RedisConfig, RedisStore};
use common::{sentinels::*, *};
use test_support::{Options, RedisServer, SentinelGroup, SentinelOptions, unique};

const SECRET: &str = "hunter2";

async fn refused(url: &str) -> ConnectError {
    let error = RedisStore::connect(RedisConfig::new(url)).await.expect_err(url);
    let told = format!("{error} {error:?}");
    assert!(!told.contains(SECRET), "{told}");
    error
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
