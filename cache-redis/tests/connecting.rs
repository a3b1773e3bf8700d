//! What `connect` accepts and refuses, and what it tells about it.

mod common;

use std::time::Duration;

use cache_core::{
    Outcome, Store,
    store::{Link, StoreError},
};
use cache_redis::{ConnectError, RedisConfig, RedisStore};
use common::*;
use test_support::{Options, RedisServer, unique};

const SECRET: &str = "hunter2";

fn with_password() -> Option<RedisServer> {
    RedisServer::own_with(Options { password: Some(SECRET.to_owned()), ..Options::default() })
}

async fn refused(url: &str) -> ConnectError {
    // Without `require`: these are errors of `connect` all the same.
    let error = RedisStore::connect(RedisConfig::new(url)).await.expect_err(url);
    let told = format!("{error} {error:?}");
    assert!(!told.contains(SECRET), "{told}");
    error
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_an_error() {
    let Some(server) = with_password() else { return };
    let at = format!("127.0.0.1:{}", server.port());
    for user in ["", ":wrong@", "somebody:hunter2@", "default:hunter@"] {
        for options in ["", "?protocol=resp2"] {
            let error = refused(&format!("redis://{user}{at}{options}")).await;
            assert!(matches!(error, ConnectError::Auth { .. }), "{user}{options}: {error}");
            assert!(error.to_string().contains(&at), "{error}");
        }
    }
    for user in [":hunter2@", "default:hunter2@"] {
        for options in ["", "?protocol=resp2"] {
            let url = format!("redis://{user}{at}{options}");
            let store = RedisStore::connect(config(&url, &unique("test"))).await.expect(user);
            fill(&store, &page(7, 1), "one").await;
        }
    }
}

#[tokio::test]
async fn an_acl_user_needs_its_own_keys_only() {
    let Some(server) = RedisServer::own() else { return };
    let namespace = unique("test");
    let rules = ["ACL", "SETUSER", "app", "on", ">hunter2", "resetkeys", "resetchannels"];
    let keys = format!("~{namespace}:*");
    // What the store needs, and no more.
    let commands = "+hello +auth +info +select +script|load +evalsha +mget +get +getrange +set +unlink \
                    +pttl +pexpire +time +scan";
    let all: Vec<_> = rules.into_iter().chain([keys.as_str(), "-@all"]).chain(commands.split_whitespace()).collect();
    assert_eq!(server.cli(&all), "+OK");
    let url = format!("redis://app:hunter2@127.0.0.1:{}", server.port());
    let store = RedisStore::connect(config(&url, &namespace)).await.unwrap();
    fill(&store, &page(7, 1), "one").await;
    assert!(hit(&store, &page(7, 1)).await.is_some());
    let lease = lease(&store, &page(7, 2)).await;
    assert!(store.renew(&page(7, 2), &lease, LEASE).await.unwrap());
    store.release(&page(7, 2), &lease).await.unwrap();
    invalidate(&store, cache_core::Target::Glob("*".to_owned())).await;
    assert_eq!(hit(&store, &page(7, 1)).await, None);
    let elsewhere = RedisStore::connect(config(&url, "elsewhere")).await.expect_err("not its keys");
    assert!(matches!(elsewhere, ConnectError::Auth { .. }), "{elsewhere}");
}

#[tokio::test]
async fn a_server_that_hides_who_it_is_is_used_with_a_warning() {
    let Some(server) = RedisServer::own() else { return };
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let rules = ["ACL", "SETUSER", "app", "on", ">hunter2", "~*", "+@all", "-info"];
    assert_eq!(server.cli(&rules), "+OK");
    let url = format!("redis://app:hunter2@127.0.0.1:{}", server.port());
    let store = RedisStore::connect(config(&url, &unique("test"))).await.unwrap();
    assert_eq!(log.count("restarts and failovers cannot be told"), 1, "{}", log.text());
    fill(&store, &page(7, 1), "one").await;
    invalidate(&store, page(7, 1).into_entry()).await;
    assert_eq!(hit(&store, &page(7, 1)).await, None);
}

/// A server that can be told by nothing may be another one after each reconnect.
#[tokio::test]
async fn at_a_server_that_hides_who_it_is_invalidations_are_said_again_at_each_reconnect() {
    let Some(server) = RedisServer::own() else { return };
    let rules = ["ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all", "-info"];
    assert_eq!(server.cli(&rules), "+OK");
    let (network, url) = server.behind_proxy();
    let (namespace, key) = (unique("test"), page(7, 1));
    let store = RedisStore::connect(config(&url, &namespace)).await.unwrap();
    fill(&store, &key, "old").await;
    fill(&store, &page(7, 2), "good").await;
    let (there, copy) = (format!("{namespace}:page:7:1"), format!("{namespace}:copy"));
    server.cli(&["COPY", &there, &copy]);
    invalidate(&store, key.clone().into_entry()).await;
    network.cut();
    until(&store, false).await;
    // What a replica has that had not heard of it.
    assert_eq!(server.cli(&["RENAME", &copy, &there]), "+OK");
    network.resume();
    until(&store, true).await;
    assert_eq!(hit(&store, &key).await, None);
    assert_eq!(hit(&store, &page(7, 2)).await.as_deref(), Some("good"), "and nothing else is lost");
}

#[tokio::test]
async fn a_server_that_hides_its_replication_id_is_told_by_its_run_id() {
    let Some(mut server) = RedisServer::own() else { return };
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let rules = ["ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all", "-info", "+info|server"];
    assert_eq!(server.cli(&rules), "+OK");
    let (network, url) = server.behind_proxy();
    let store = RedisStore::connect(config(&url, &unique("test"))).await.unwrap();
    assert_eq!(log.count("restarts are told by its run id"), 1, "{}", log.text());
    fill(&store, &page(7, 1), "old").await;
    assert!(hit(&store, &page(7, 1)).await.is_some());
    network.cut();
    until(&store, false).await;
    network.resume();
    until(&store, true).await;
    assert!(hit(&store, &page(7, 1)).await.is_some(), "still the same server");
    assert_eq!(server.cli(&["SAVE"]), "+OK");
    network.cut();
    until(&store, false).await;
    server.kill();
    server.restart();
    assert_eq!(server.cli(&rules), "+OK");
    network.resume();
    until(&store, true).await;
    assert_eq!(log.count("restarts are told by its run id"), 3, "{}", log.text());
    assert_eq!(hit(&store, &page(7, 1)).await, None, "from an old file");
}

#[tokio::test]
async fn databases_are_apart_and_one_that_is_not_there_is_an_error() {
    let Some(server) = RedisServer::own() else { return };
    let namespace = unique("test");
    let at = |database: &str| format!("redis://127.0.0.1:{}/{database}", server.port());
    let three = RedisStore::connect(config(&at("3"), &namespace)).await.unwrap();
    let four = RedisStore::connect(config(&at("4"), &namespace)).await.unwrap();
    fill(&three, &page(7, 1), "one").await;
    assert_eq!(hit(&four, &page(7, 1)).await, None);
    assert!(hit(&three, &page(7, 1)).await.is_some());
    let error = refused(&at("1000")).await;
    assert!(matches!(error, ConnectError::BadDatabase { database: 1000, .. }), "{error}");
}

#[tokio::test]
async fn a_server_of_another_kind_than_the_url_says_is_an_error_that_names_the_right_url() {
    let bus = RedisServer::reserve().port().to_string();
    let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus].map(str::to_owned).to_vec();
    let Some(node) = RedisServer::own_with(Options { arguments, ..Options::default() }) else { return };
    for path in ["", "/1", "?protocol=resp2"] {
        let error = refused(&format!("{}{path}", node.url())).await;
        assert!(matches!(error, ConnectError::WrongKind { .. }), "{error}");
        assert!(error.to_string().ends_with("is a node of a cluster: use redis+cluster://"), "{error}");
    }
    let Some(single) = RedisServer::own() else { return };
    let error = refused(&single.url().replace("redis://", "redis+cluster://")).await;
    assert!(matches!(error, ConnectError::WrongKind { .. }), "{error}");
    assert!(error.to_string().ends_with("is not in cluster mode: use redis://"), "{error}");
}

#[tokio::test]
async fn every_scheme_leads_here_from_a_cache() {
    let names = ["redis", "rediss", "valkey", "valkeys"];
    let schemes = names.map(|name| ["", "+sentinel", "+cluster"].map(|kind| format!("{name}{kind}")));
    for scheme in schemes.as_flattened() {
        let error = cache_core::Cache::connect(&format!("{scheme}://127.0.0.1:1/orders?nope=1")).await;
        let error = error.expect_err("there is no such option");
        assert!(matches!(error, cache_core::BuildError::Store(_)), "{scheme}: {error}");
    }
}

#[tokio::test]
async fn a_unix_socket_works() {
    let socket = std::env::temp_dir().join(unique("staleproof.sock"));
    let arguments = vec!["--unixsocket".to_owned(), socket.display().to_string()];
    let Some(_server) = RedisServer::own_with(Options { arguments, ..Options::default() }) else { return };
    let store = RedisStore::connect(config(&format!("redis+unix://{}?db=2", socket.display()), "test")).await.unwrap();
    fill(&store, &page(7, 1), "one").await;
    assert!(hit(&store, &page(7, 1)).await.is_some());
}

#[tokio::test]
async fn the_older_protocol_works_and_notices_a_loss_at_the_next_call() {
    let mut server = RedisServer::start();
    let url = format!("{}?protocol=resp2", server.url());
    let store = RedisStore::connect(config(&url, &unique("test"))).await.unwrap();
    fill(&store, &page(7, 1), "one").await;
    assert!(hit(&store, &page(7, 1)).await.is_some());
    server.kill();
    assert!(matches!(store.read(&page(7, 1)).await, Err(StoreError::Unavailable)));
    server.restart();
    until(&store, true).await;
}

#[tokio::test]
async fn a_replica_is_not_used() {
    let Some(server) = RedisServer::own() else { return };
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = RedisStore::connect(config(&server.url(), "test")).await.expect_err("a replica");
    assert!(matches!(error, ConnectError::Unreachable { .. }) && error.to_string().contains("replica"), "{error}");
}

#[tokio::test]
async fn an_outage_fills_no_log_and_the_log_tells_no_password() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let Some(mut server) = with_password() else { return };
    let store = RedisStore::connect(config(&server.url(), &unique("test"))).await.unwrap();
    server.kill();
    until(&store, false).await;
    for n in 0..100 {
        assert_eq!(store.invalidate(&[page(n, 1).into_entry()]).await.unwrap(), Outcome::Journaled);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.restart();
    until(&store, true).await;
    let text = log.text();
    assert_eq!(log.count("WARN message=lost Redis"), 1, "{text}");
    assert_eq!(log.count("WARN message=invalidations are queued"), 1, "{text}");
    assert_eq!(log.count("INFO message=connected to Redis"), 2, "{text}");
    assert!(text.contains("replayed=100"), "{text}");
    assert!(!text.contains(SECRET) && !format!("{store:?}").contains(SECRET), "{text}");
}

#[tokio::test]
async fn a_password_that_changes_later_keeps_the_store_out_and_is_told_once() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let Some(server) = with_password() else { return };
    let store = RedisStore::connect(config(&server.url(), &unique("test"))).await.unwrap();
    server.cli(&["CONFIG", "SET", "requirepass", "another"]);
    let url = server.url().replace(SECRET, "another");
    test_support::cli(&url, &["CLIENT", "KILL", "TYPE", "normal"]);
    until(&store, false).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(matches!(*store.link().unwrap().borrow(), Link::Down { .. }));
    assert_eq!(log.count("WARN message=Redis refuses this client"), 1, "{}", log.text());
    test_support::cli(&url, &["CONFIG", "SET", "requirepass", SECRET]);
    until(&store, true).await;
}
