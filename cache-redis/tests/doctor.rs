//! What is wrong with a Redis is found, each fault by itself, and nothing where all is well.

mod common;

use std::time::Duration;

use cache_core::{Store as _, doctor::Diagnosis};
use cache_redis::{RedisConfig, RedisStore};
use common::*;
use test_support::{ClusterOptions, ClusterServers, Options, RedisServer, unique};

/// A server that is set up as it should be, with these settings changed.
fn server(changes: &[[&str; 2]]) -> RedisServer {
    let server = RedisServer::own_with(Options::default()).expect("there is a server to start");
    let good = [["maxmemory", "64mb"], ["maxmemory-policy", "allkeys-lru"], ["save", ""]];
    for [name, value] in good.iter().chain(changes) {
        assert_eq!(server.cli(&["CONFIG", "SET", name, value]), "+OK", "{name}");
    }
    server
}

async fn found_by(config: RedisConfig) -> Vec<&'static str> {
    let store = RedisStore::connect(config).await.expect("Redis is there");
    let diagnosis = Diagnosis::new(store.examine().await);
    eprintln!("{diagnosis}");
    diagnosis.findings.iter().map(|finding| finding.id).collect()
}

async fn found_at(server: &RedisServer) -> Vec<&'static str> {
    found_by(config(&server.url(), &unique("doctor"))).await
}

#[tokio::test]
async fn a_good_server_has_nothing() {
    assert_eq!(found_at(&server(&[])).await, [""; 0]);
}

#[tokio::test]
async fn each_bad_setting_is_found_by_itself() {
    for (changes, id) in [
        (&[["maxmemory", "0"]][..], "no-maxmemory"),
        (&[["maxmemory-policy", "noeviction"]], "noeviction"),
        (&[["save", "3600 1"]], "old-dumps"),
        (&[["client-output-buffer-limit", "pubsub 65536 65536 1"]], "small-pubsub-buffer"),
    ] {
        assert_eq!(found_at(&server(changes)).await, [id]);
    }
    let with_a_log = server(&[["save", "3600 1"], ["appendonly", "yes"]]);
    assert_eq!(found_at(&with_a_log).await, [""; 0], "with an append-only file it comes back as it was");
}

#[tokio::test]
async fn a_failover_without_replicas_required_is_found() {
    let (primary, replica) = (server(&[["min-replicas-to-write", "0"]]), server(&[]));
    assert_eq!(replica.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]), "+OK");
    let began = std::time::Instant::now();
    while !primary.cli(&["INFO", "replication"]).contains("connected_slaves:1") {
        assert!(began.elapsed() < Duration::from_secs(60), "the replica does not attach");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(found_at(&primary).await, ["no-replicas-required"]);
}

#[tokio::test]
async fn where_nobody_replaces_a_primary_it_needs_no_replica() {
    let good = ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--min-replicas-to-write", "0"];
    for (replicas, found) in [(0, &[][..]), (1, &["no-replicas-required"; 3])] {
        let arguments = good.map(str::to_owned).into();
        let cluster = ClusterServers::start(ClusterOptions { replicas, arguments, ..Default::default() });
        let cluster = cluster.expect("there are servers to start");
        assert_eq!(found_by(config(&cluster.url(), &unique("doctor"))).await, found);
    }
}

#[tokio::test]
async fn a_server_that_hides_who_it_is_is_found() {
    for (allowed, ids) in [("+ping", &["hidden-identity"][..]), ("+info|server", &["hidden-replid"])] {
        let server = server(&[]);
        let rules = ["ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all", "-info", allowed];
        assert_eq!(server.cli(&rules), "+OK");
        assert_eq!(found_at(&server).await, ids);
    }
}

#[tokio::test]
async fn a_long_way_is_found() {
    let server = server(&[]);
    let (network, url) = server.behind_proxy();
    network.delay(Duration::from_millis(15));
    assert_eq!(found_by(config(&url, &unique("doctor"))).await, ["slow"]);
}

#[tokio::test]
async fn without_a_feed_it_says_so() {
    let server = server(&[]);
    let url = format!("{}?protocol=resp2", server.url());
    assert_eq!(found_by(config(&url, &unique("doctor"))).await, ["resp2"]);
    let rules = ["ACL", "SETUSER", "app", "on", ">secret", "~*", "resetchannels", "+@all"];
    assert_eq!(server.cli(&rules), "+OK");
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    assert_eq!(found_by(config(&url, &unique("doctor"))).await, ["no-feed"]);
}
