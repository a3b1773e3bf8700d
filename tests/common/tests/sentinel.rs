//! The group itself: it forms, breaks, fails over and comes together again.

use std::time::Duration;

use test_support::{RedisServer, SentinelGroup, SentinelOptions};

const PATIENCE: Duration = Duration::from_secs(30);

fn get(server: &RedisServer, key: &str) -> String {
    server.cli(&["GET", key])
}

#[test]
fn a_killed_primary_is_replaced_and_follows_when_it_is_back() {
    let Some(mut group) = SentinelGroup::start(SentinelOptions { replicas: 2, ..Default::default() }) else { return };
    assert_eq!(group.primary(), Some(0));
    assert_eq!(group.servers[0].cli(&["SET", "key", "value"]), "+OK");
    assert!(group.servers[0].is_in_step(2, PATIENCE));
    group.servers[0].kill();
    let next = group.wait_for_failover(0);
    assert_ne!(next, 0);
    assert_eq!(get(&group.servers[next], "key"), "value");
    group.servers[0].restart();
    assert_eq!(group.settle(), next);
    assert_eq!(get(&group.servers[0], "key"), "value", "it has what the new primary has");
    assert!(group.servers[0].cli(&["SET", "key", "value"]).starts_with("-READONLY"));
}

#[test]
fn a_failover_can_be_commanded_and_needs_no_more_than_two_sentinels() {
    let Some(mut group) = SentinelGroup::start(SentinelOptions::default()) else { return };
    group.sentinels[0].kill();
    group.fail_over();
    assert_eq!(group.wait_for_failover(0), 1);
    assert_eq!(group.settle(), 1);
    group.sentinels[0].restart();
    assert_eq!(group.settle(), 1, "the restarted sentinel has heard of it");
    assert!(group.sentinels[0].runs());
}

#[test]
fn a_stopped_primary_is_replaced_and_one_without_replicas_takes_no_writes() {
    let options = SentinelOptions { replicas: 2, min_replicas: Some((1, 1)), ..Default::default() };
    let Some(mut group) = SentinelGroup::start(options) else { return };
    group.servers[0].stop();
    let next = group.wait_for_failover(0);
    group.servers[0].cont();
    assert_eq!(group.settle(), next);
    for server in 0..3 {
        if server != next {
            group.servers[server].kill();
        }
    }
    let refused = || group.servers[next].cli(&["SET", "key", "value"]).starts_with("-NOREPLICAS");
    let began = std::time::Instant::now();
    while !refused() {
        assert!(began.elapsed().as_secs() < 30, "it takes writes that nobody else hears of");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn servers_and_sentinels_may_have_passwords() {
    let (password, sentinel_password) = (Some("open".to_owned()), Some("sesame".to_owned()));
    let options = SentinelOptions { password, sentinel_password, ..Default::default() };
    let Some(group) = SentinelGroup::start(options) else { return };
    let url = group.url();
    assert!(url.starts_with("redis+sentinel://:open@127.0.0.1:"), "{url}");
    assert!(url.ends_with(&format!("/{}?sentinel_pass=sesame", group.service())), "{url}");
    for server in group.servers.iter().chain(&group.sentinels) {
        let without = format!("redis://127.0.0.1:{}", server.port());
        assert!(test_support::cli(&without, &["INFO"]).starts_with("-NOAUTH"));
    }
    group.fail_over();
    group.wait_for_failover(0);
    assert_eq!(group.settle(), 1);
}

#[test]
fn nothing_is_left_when_a_test_panics() {
    let (told, hear) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let Some(group) = SentinelGroup::start(SentinelOptions::default()) else { return };
        let servers = group.servers.iter().chain(&group.sentinels);
        let left: Vec<_> =
            servers.map(|server| (server.port(), server.folder().expect("it is a process").to_owned())).collect();
        told.send(left).expect("it is waited for");
        panic!("as a test does");
    });
    assert!(test.join().is_err() || RedisServer::own().is_none());
    for (port, folder) in hear.into_iter().flatten() {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{port} is still open");
        assert!(!folder.exists());
    }
}
