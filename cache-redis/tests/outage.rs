//! A Redis that goes away, comes back, hangs, restarts, or is not there yet.

mod common;

use std::time::{Duration, Instant};

use cache_core::{
    Key, Outcome, Store, Target,
    store::{Filled, Link, Read, StoreError},
};
use cache_redis::{ConnectError, RedisStore};
use common::*;
use test_support::{Options, RedisServer, unique};

/// A Redis that is back has to be used again within this.
const BACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_kill_fails_calls_at_once_and_a_restart_is_used_within_two_seconds() {
    let mut server = RedisServer::start();
    let ground = Ground::on(&server).await;
    fill(&ground.store, &page(7, 1), "one").await;
    server.kill();
    until(&ground.store, false).await;
    let began = Instant::now();
    for _ in 0..100 {
        assert!(matches!(ground.store.read(&page(7, 1)).await, Err(StoreError::Unavailable)));
        assert!(matches!(ground.store.acquire(&page(7, 1), LOAD, LEASE).await, Err(StoreError::Unavailable)));
    }
    assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
    // Long enough for the pauses between attempts to have grown.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.restart();
    assert!(until(&ground.store, true).await < BACK);
    fill(&ground.store, &page(7, 2), "two").await;
    assert_eq!(hit(&ground.store, &page(7, 2)).await.as_deref(), Some("two"));
}

#[tokio::test]
async fn a_loss_is_noticed_without_a_call() {
    let server = RedisServer::start();
    let (proxy, url) = server.behind_proxy();
    let ground = Ground::at(url).await;
    proxy.cut();
    until(&ground.store, false).await;
    proxy.resume();
    until(&ground.store, true).await;
}

#[tokio::test]
async fn a_redis_that_hangs_costs_no_call_more_than_its_bound() {
    let server = RedisServer::start();
    let bound = Duration::from_millis(60);
    let config = config(&server.url(), &unique("test")).call_timeout(bound).connect_timeout(Duration::from_millis(300));
    let store = RedisStore::connect(config).await.unwrap();
    fill(&store, &page(7, 1), "one").await;
    server.stop();
    let (mut timeouts, mut unavailable) = (0, 0);
    for _ in 0..20 {
        let began = Instant::now();
        match store.read(&page(7, 1)).await {
            Err(StoreError::Timeout) => timeouts += 1,
            Err(StoreError::Unavailable) => unavailable += 1,
            other => panic!("{other:?}"),
        }
        assert!(began.elapsed() < bound + Duration::from_millis(150), "{:?}", began.elapsed());
    }
    // The connection's own heartbeat may be one of the three that give it up.
    assert!((2..=3).contains(&timeouts) && timeouts + unavailable == 20, "{timeouts}, {unavailable}");
    server.cont();
    assert!(until(&store, true).await < BACK);
    assert_eq!(hit(&store, &page(7, 1)).await.as_deref(), Some("one"), "the same incarnation: nothing is lost");
}

#[tokio::test]
async fn one_stall_that_many_calls_run_into_keeps_the_connection() {
    let server = RedisServer::start();
    let bound = Duration::from_millis(150);
    let store = RedisStore::connect(config(&server.url(), &unique("test")).call_timeout(bound)).await.unwrap();
    fill(&store, &page(7, 1), "one").await;
    server.stop();
    let key = page(7, 1);
    let (one, two, three, four) = tokio::join!(store.read(&key), store.read(&key), store.read(&key), store.read(&key));
    for read in [one, two, three, four] {
        assert!(matches!(read, Err(StoreError::Timeout)), "{read:?}");
    }
    server.cont();
    assert!(matches!(*store.link().unwrap().borrow(), Link::Up));
    assert_eq!(hit(&store, &key).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn an_invalidation_during_an_outage_is_replayed_before_anything_is_read() {
    let server = RedisServer::start();
    let (ours, url) = server.behind_proxy();
    let (ground, key) = (Ground::at(url).await, page(7, 1));
    let other = RedisStore::connect(config(&server.url(), &ground.namespace)).await.unwrap();
    let targets = [
        key.clone().into_entry(),
        Key::new("page").arg(&7).into_node(),
        Target::Tag(cache_core::Tag::new("owner:7")),
        Target::Glob("page:*".to_owned()),
        Target::All,
    ];
    for target in targets {
        fill(&ground.store, &key, "old").await;
        ours.cut();
        assert_eq!(ground.store.invalidate(std::slice::from_ref(&target)).await.unwrap(), Outcome::Journaled);
        assert!(matches!(*ground.store.link().unwrap().borrow(), Link::Down { journal: 1, .. }), "{target}");
        assert!(hit(&other, &key).await.is_some(), "the data survive the outage");
        ours.resume();
        until(&ground.store, true).await;
        assert_eq!(hit(&ground.store, &key).await, None, "{target}");
        assert_eq!(hit(&other, &key).await, None, "{target}");
    }
}

#[tokio::test]
async fn nothing_is_read_between_the_return_of_redis_and_the_end_of_the_replay() {
    let server = RedisServer::start();
    let (ours, url) = server.behind_proxy();
    let (ground, key) = (Ground::at(url).await, page(7, 1));
    let other = RedisStore::connect(config(&server.url(), &ground.namespace)).await.unwrap();
    fill(&ground.store, &key, "old").await;
    ours.cut();
    // Globs take several round trips each.
    let targets: Vec<_> = (0..10).map(|n| Target::Glob(format!("other:{n}:*"))).collect();
    assert_eq!(ground.store.invalidate(&targets).await.unwrap(), Outcome::Journaled);
    assert_eq!(ground.store.invalidate(&[key.clone().into_entry()]).await.unwrap(), Outcome::Journaled);
    assert!(hit(&other, &key).await.is_some());
    ours.resume();
    ours.delay(Duration::from_millis(5));
    let mut refused = 0;
    loop {
        match ground.store.read(&key).await {
            Err(StoreError::Unavailable) => refused += 1,
            Ok(Read::Miss { .. }) => break,
            other => panic!("{other:?} after {refused} reads that were refused"),
        }
        let late = ground.store.acquire(&page(7, 2), LOAD, LEASE).await;
        assert!(late.is_err() || matches!(*ground.store.link().unwrap().borrow(), Link::Up), "{late:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(refused > 10, "{refused} reads show nothing");
}

#[tokio::test]
async fn an_invalidation_without_an_answer_counts_as_not_done() {
    let server = RedisServer::start();
    let (ours, url) = server.behind_proxy();
    let namespace = unique("test");
    let config = config(&url, &namespace).call_timeout(Duration::from_millis(50));
    let store = RedisStore::connect(config.connect_timeout(Duration::from_millis(200))).await.unwrap();
    fill(&store, &page(7, 1), "old").await;
    ours.freeze();
    assert_eq!(store.invalidate(&[page(7, 1).into_entry()]).await.unwrap(), Outcome::Journaled);
    let gated = store.read(&page(7, 1)).await;
    assert!(matches!(gated, Err(StoreError::Unavailable)), "one is enough to close the gate: {gated:?}");
    ours.resume();
    until(&store, true).await;
    assert_eq!(hit(&store, &page(7, 1)).await, None);
}

#[tokio::test]
async fn a_load_across_an_outage_with_an_invalidation_in_it_is_refused() {
    let server = RedisServer::start();
    let (ours, url) = server.behind_proxy();
    let ground = Ground::at(url).await;
    let key = page(7, 1);
    let lease = lease(&ground.store, &key).await;
    ours.cut();
    let node = Key::new("page").into_node();
    assert_eq!(ground.store.invalidate(&[node]).await.unwrap(), Outcome::Journaled);
    ours.resume();
    until(&ground.store, true).await;
    assert_eq!(ground.store.fill(&key, &lease, bytes("late"), TTL).await.unwrap(), Filled::Refused);
}

#[tokio::test]
async fn invalidations_that_come_in_while_redis_comes_back_are_not_lost() {
    let server = RedisServer::start();
    let (ours, url) = server.behind_proxy();
    let ground = Ground::at(url).await;
    let keys: Vec<_> = (0..100).map(|n| page(n, 1)).collect();
    for key in &keys {
        fill(&ground.store, key, "old").await;
    }
    ours.cut();
    until(&ground.store, false).await;
    let (mut journaled, began) = (0, Instant::now());
    for (n, key) in keys.iter().cycle().enumerate() {
        if n == 20 {
            // Slow enough for the replay to take several of these.
            ours.resume();
            ours.delay(Duration::from_millis(5));
        }
        match ground.store.invalidate(&[key.clone().into_entry()]).await.unwrap() {
            Outcome::Journaled => journaled += 1,
            Outcome::Applied if n >= keys.len() => break,
            Outcome::Applied => {}
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the link does not come up");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(journaled >= 20, "{journaled} before the link was up");
    ours.delay(Duration::ZERO);
    until(&ground.store, true).await;
    for key in &keys {
        assert_eq!(hit(&ground.store, key).await, None, "{key}");
    }
}

#[tokio::test]
async fn a_journal_that_runs_over_invalidates_everything() {
    let server = RedisServer::start();
    let (ours, url) = server.behind_proxy();
    let store = RedisStore::connect(config(&url, &unique("test")).journal_limit(3)).await.unwrap();
    fill(&store, &page(7, 1), "old").await;
    ours.cut();
    for n in 0..5 {
        let target = page(100 + n, 1).into_entry();
        assert_eq!(store.invalidate(&[target]).await.unwrap(), Outcome::Journaled);
    }
    assert!(matches!(*store.link().unwrap().borrow(), Link::Down { journal: 1, .. }));
    ours.resume();
    until(&store, true).await;
    assert_eq!(hit(&store, &page(7, 1)).await, None);
}

#[tokio::test]
async fn a_restart_from_a_file_makes_the_namespace_cold() {
    let options = Options { appendonly: true, ..Options::default() };
    let Some(mut server) = RedisServer::own_with(options) else { return };
    let ground = Ground::on(&server).await;
    fill(&ground.store, &page(7, 1), "old").await;
    let lease = lease(&ground.store, &page(7, 2)).await;
    let root = ground.cli(&["GET", &ground.name("#root")]);
    server.kill();
    until(&ground.store, false).await;
    assert_eq!(ground.store.invalidate(&[page(7, 3).into_entry()]).await.unwrap(), Outcome::Journaled);
    server.restart();
    until(&ground.store, true).await;
    assert_eq!(ground.cli(&["EXISTS", &ground.name(page(7, 1))]), ":1", "the file brought it back");
    assert_eq!(hit(&ground.store, &page(7, 1)).await, None, "but it may be older than an invalidation");
    assert_eq!(ground.store.fill(&page(7, 2), &lease, bytes("late"), TTL).await.unwrap(), Filled::Refused);
    fill(&ground.store, &page(7, 1), "new").await;
    assert_ne!(ground.cli(&["GET", &ground.name("#root")])[..16], root[..16]);
}

#[tokio::test]
async fn a_root_of_another_incarnation_is_fenced() {
    let ground = Ground::shared().await;
    let key = page(7, 1);
    fill(&ground.store, &key, "old").await;
    let root = ground.cli(&["GET", &ground.name("#root")]);
    // As after a failover to a server that had been fenced for another one.
    ground.cli(&["SET", &ground.name("#root"), &format!("0123456789abcdef{}", &root[16..])]);
    assert_eq!(hit(&ground.store, &key).await, None);
    fill(&ground.store, &key, "new").await;
    assert_eq!(hit(&ground.store, &key).await.as_deref(), Some("new"));
    let now = ground.cli(&["GET", &ground.name("#root")]);
    assert_eq!((&now[..16], now.len()), (&root[..16], 48));
    assert_ne!(now, root);
}

#[tokio::test]
async fn a_server_that_changed_its_incarnation_under_the_connection_is_joined_anew() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    let key = page(7, 1);
    fill(&ground.store, &key, "old").await;
    server.cli(&["DEBUG", "CHANGE-REPL-ID"]);
    let newer = ground.another().await;
    fill(&newer, &key, "new").await;
    // The older connection must not fence what the newer one fenced: they would take turns for ever.
    let refused = ground.store.acquire(&key, LOAD, LEASE).await;
    assert!(matches!(refused, Err(StoreError::Unavailable)), "{refused:?}");
    until(&ground.store, true).await;
    assert_eq!(hit(&ground.store, &key).await.as_deref(), Some("new"));
    assert_eq!(hit(&newer, &key).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_redis_that_is_not_there_at_the_start_is_joined_within_two_seconds_of_its_own() {
    let mut server = RedisServer::reserve();
    let url = server.url();
    let namespace = unique("test");
    let required = RedisStore::connect(config(&url, &namespace)).await;
    assert!(matches!(required, Err(ConnectError::Unreachable { .. })), "{required:?}");
    let optional = cache_redis::RedisConfig::new(&url).namespace(&namespace).call_timeout(Duration::from_millis(500));
    let store = RedisStore::connect(optional).await.unwrap();
    assert!(matches!(*store.link().unwrap().borrow(), Link::Down { journal: 0, .. }));
    assert!(matches!(store.read(&page(7, 1)).await, Err(StoreError::Unavailable)));
    assert_eq!(store.invalidate(&[page(7, 1).into_entry()]).await.unwrap(), Outcome::Journaled);
    tokio::time::sleep(Duration::from_millis(700)).await;
    server.run();
    assert!(until(&store, true).await < BACK);
    fill(&store, &page(7, 1), "one").await;
    assert!(matches!(store.read(&page(7, 1)).await.unwrap(), Read::Hit(_)));
}

#[tokio::test]
async fn dropping_the_store_closes_its_connection() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    // Beside that of the question itself.
    let clients = || server.cli(&["CLIENT", "LIST"]).lines().filter(|line| line.starts_with("id=")).count() - 1;
    fill(&ground.store, &page(7, 1), "one").await;
    invalidate(&ground.store, Target::All).await;
    assert_eq!(clients(), 1);
    drop(ground.store);
    let began = Instant::now();
    while clients() > 0 {
        assert!(began.elapsed() < Duration::from_secs(2), "the connection is still open");
        tokio::task::yield_now().await;
    }
}
