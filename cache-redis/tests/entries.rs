//! Reading, loading, filling and refreshing entries in a real Redis.

mod common;

use std::time::Duration;

use cache_core::{
    Key, Store, Tag,
    store::{Acquired, Filled, Lease, LeaseId, Purpose, Read, Stored},
};
use cache_redis::RedisStore;
use common::*;
use test_support::RedisServer;

async fn stored(store: &RedisStore, key: &Key) -> Stored {
    match store.read(key).await.expect("Redis answers") {
        Read::Hit(stored) => stored,
        other => panic!("no hit on {key}: {other:?}"),
    }
}

async fn refresh(store: &RedisStore, key: &Key, id: LeaseId) -> Lease {
    match store.acquire(key, Purpose::Refresh(id), LEASE).await.expect("Redis answers") {
        Acquired::Lease(lease) => lease,
        other => panic!("no lease on {key}: {other:?}"),
    }
}

#[tokio::test]
async fn a_value_that_was_filled_is_hit_by_other_instances() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    assert!(matches!(store.read(&key).await.unwrap(), Read::Miss { loading: None }));
    let lease = lease(store, &key).await;
    assert!(lease.id.0.iter().all(u8::is_ascii_hexdigit));
    let other = ground.another().await;
    assert!(matches!(other.read(&key).await.unwrap(), Read::Miss { loading: Some(id) } if id == lease.id));
    assert!(
        matches!(other.acquire(&key, LOAD, LEASE).await.unwrap(), Acquired::Wait { lease: id, .. } if id == lease.id)
    );
    assert_eq!(store.fill(&key, &lease, bytes("one"), TTL).await.unwrap(), Filled::Stored);
    let found = stored(&other, &key).await;
    assert_eq!((text(&found.payload).as_str(), found.id), ("one", lease.id));
    let acquired = other.acquire(&key, LOAD, LEASE).await.unwrap();
    assert!(matches!(acquired, Acquired::Value(value) if text(&value.payload) == "one" && value.id == lease.id));
}

#[tokio::test]
async fn names_in_redis_can_be_read() {
    let ground = Ground::shared().await;
    fill(&ground.store, &page(7, 1), "one").await;
    for name in ["page:7:1", "page#g", "page:7#g", "#tag:owner:7#g", "#root"] {
        assert_eq!(ground.cli(&["EXISTS", &ground.name(name)]), ":1", "{name}");
    }
}

#[tokio::test]
async fn a_read_is_one_command_and_no_script() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    let key = page(7, 1);
    fill(&ground.store, &key, "one").await;
    server.cli(&["CONFIG", "RESETSTAT"]);
    for _ in 0..10 {
        assert!(hit(&ground.store, &key).await.is_some());
    }
    for _ in 0..5 {
        assert!(hit(&ground.store, &page(8, 1)).await.is_none());
    }
    let stats = server.cli(&["INFO", "commandstats"]);
    let ours = ["cmdstat_config", "cmdstat_info", "cmdstat_quit"];
    let calls = |line: &&str| line.starts_with("cmdstat_") && !ours.iter().any(|own| line.starts_with(own));
    let commands: Vec<_> = stats.lines().filter(calls).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(commands, ["cmdstat_mget:calls=15"]);
}

#[tokio::test]
async fn an_empty_value_is_a_value() {
    let ground = Ground::shared().await;
    fill(&ground.store, &page(7, 1), "").await;
    assert_eq!(hit(&ground.store, &page(7, 1)).await.as_deref(), Some(""));
}

#[tokio::test]
async fn a_key_without_arguments_and_a_tag_named_twice_work() {
    let ground = Ground::shared().await;
    let key = Key::new("all").tag(Tag::new("a")).tag(Tag::new("a"));
    fill(&ground.store, &key, "one").await;
    assert_eq!(hit(&ground.store, &key).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn garbage_in_the_place_of_an_entry_is_a_miss_and_is_replaced() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    let name = ground.name(&key);
    fill(store, &key, "one").await;
    let value = ground.cli(&["GET", &name]);
    let truncated = &value[..64];
    let lease_and_more = format!("L{}", &value[1..]);
    for garbage in ["", "x", "hello", truncated, &value[..1], &lease_and_more] {
        ground.cli(&["SET", &name, garbage]);
        assert!(matches!(store.read(&key).await.unwrap(), Read::Miss { loading: None }), "{garbage:?}");
        fill(store, &key, "two").await;
        assert_eq!(hit(store, &key).await.as_deref(), Some("two"), "{garbage:?}");
    }
}

#[tokio::test]
async fn keys_of_another_type_count_as_absent() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    for name in ["page:7:1", "page#g", "page:7#g", "#tag:owner:7#g", "#root"] {
        fill(store, &key, "one").await;
        ground.cli(&["DEL", &ground.name(name)]);
        ground.cli(&["RPUSH", &ground.name(name), "a list"]);
        assert_eq!(hit(store, &key).await, None, "{name}");
        fill(store, &key, "two").await;
        assert_eq!(hit(store, &key).await.as_deref(), Some("two"), "{name}");
        invalidate(store, key.clone().into_entry()).await;
    }
    let lease = lease(store, &key).await;
    ground.cli(&["DEL", &ground.name(&key)]);
    ground.cli(&["RPUSH", &ground.name(&key), "a list"]);
    assert_eq!(store.fill(&key, &lease, bytes("late"), TTL).await.unwrap(), Filled::Refused);
    assert!(!store.renew(&key, &lease, LEASE).await.unwrap());
    store.release(&key, &lease).await.unwrap();
    assert_eq!(ground.cli(&["TYPE", &ground.name(&key)]), "+list", "somebody else's");
    invalidate(store, key.clone().into_entry()).await;
    assert_eq!(ground.cli(&["EXISTS", &ground.name(&key)]), ":0");
}

#[tokio::test]
async fn garbage_in_the_place_of_a_token_is_replaced() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    for garbage in ["", "x", "T", "T|T", "a token of somebody else, of about that length"] {
        fill(store, &key, "one").await;
        ground.cli(&["SET", &ground.name("page:7#g"), garbage]);
        assert_eq!(hit(store, &key).await, None, "{garbage:?}");
        fill(store, &key, "two").await;
        assert_eq!(hit(store, &key).await.as_deref(), Some("two"), "{garbage:?}");
        invalidate(store, key.clone().into_entry()).await;
    }
    ground.cli(&["SET", &ground.name("#root"), "nonsense"]);
    assert_eq!(hit(store, &key).await, None);
    fill(store, &key, "three").await;
    assert_eq!(hit(store, &key).await.as_deref(), Some("three"));
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_loaded_again() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    fill(store, &key, "corrupt").await;
    let id = stored(store, &key).await.id;
    let unreadable = Purpose::Load { unreadable: Some(id) };
    let Acquired::Lease(lease) = store.acquire(&key, unreadable, LEASE).await.unwrap() else { panic!("no lease") };
    assert_eq!(store.fill(&key, &lease, bytes("good"), TTL).await.unwrap(), Filled::Stored);
    let acquired = store.acquire(&key, unreadable, LEASE).await.unwrap();
    assert!(matches!(acquired, Acquired::Value(value) if text(&value.payload) == "good"), "only that one value");
}

#[tokio::test]
async fn a_quarantine_is_respected_by_every_call() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    let held = |at: String, ground: &Ground| ground.cli(&["SET", &at, "Qsomebody;", "PX", "60000"]);
    for at in ["page:7:1", "page:7#g", "#tag:owner:7#g"] {
        fill(store, &key, "one").await;
        let id = stored(store, &key).await.id;
        held(ground.name(at), &ground);
        assert!(matches!(store.read(&key).await.unwrap(), Read::Held), "{at}");
        assert!(matches!(store.acquire(&key, LOAD, LEASE).await.unwrap(), Acquired::Held), "{at}");
        assert!(matches!(store.acquire(&key, Purpose::Refresh(id), LEASE).await.unwrap(), Acquired::Held), "{at}");
        for target in [
            key.clone().into_entry(),
            Key::new("page").arg(&7).into_node(),
            cache_core::Target::Tag(Tag::new("owner:7")),
            cache_core::Target::Glob("*".to_owned()),
        ] {
            invalidate(store, target).await;
        }
        assert_eq!(ground.cli(&["GET", &ground.name(at)]), "Qsomebody;", "{at}");
        ground.cli(&["DEL", &ground.name(at)]);
    }
}

#[tokio::test]
async fn a_quarantine_set_during_a_load_refuses_its_fill() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    for at in ["page:7:1", "page:7#g", "#tag:owner:7#g"] {
        let lease = lease(store, &key).await;
        ground.cli(&["SET", &ground.name(at), "Qsomebody;", "PX", "60000"]);
        assert_eq!(store.fill(&key, &lease, bytes("late"), TTL).await.unwrap(), Filled::Refused, "{at}");
        ground.cli(&["DEL", &ground.name(at)]);
        assert_eq!(hit(store, &key).await, None);
    }
}

#[tokio::test]
async fn a_refresh_replaces_exactly_the_value_it_saw() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    fill(store, &key, "one").await;
    let id = stored(store, &key).await.id;
    let lease = refresh(store, &key, id).await;
    assert_eq!(lease.replaces, Some(id));
    assert_eq!(hit(store, &key).await.as_deref(), Some("one"), "readable meanwhile");
    let second = store.acquire(&key, Purpose::Refresh(id), LEASE).await.unwrap();
    assert!(matches!(second, Acquired::Wait { lease: other, .. } if other == lease.id));
    assert!(store.renew(&key, &lease, LEASE).await.unwrap());
    assert_eq!(store.fill(&key, &lease, bytes("two"), TTL).await.unwrap(), Filled::Stored);
    assert_eq!(hit(store, &key).await.as_deref(), Some("two"));
    assert_eq!(ground.cli(&["EXISTS", &ground.name("page:7:1#r")]), ":0");
    assert!(matches!(store.acquire(&key, Purpose::Refresh(id), LEASE).await.unwrap(), Acquired::Gone));
}

#[tokio::test]
async fn a_refresh_of_a_value_that_went_away_stores_nothing() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    let node = Key::new("page").arg(&7).into_node();
    let tag = cache_core::Target::Tag(Tag::new("owner:7"));
    let glob = cache_core::Target::Glob("page:7:1".to_owned());
    for target in [key.clone().into_entry(), node, tag, glob, cache_core::Target::All] {
        fill(store, &key, "one").await;
        let lease = refresh(store, &key, stored(store, &key).await.id).await;
        invalidate(store, target.clone()).await;
        assert_eq!(store.fill(&key, &lease, bytes("late"), TTL).await.unwrap(), Filled::Refused, "{target}");
        assert_eq!(hit(store, &key).await, None, "{target}");
        // Nor over the next value.
        fill(store, &key, "next").await;
        assert_eq!(store.fill(&key, &lease, bytes("late"), TTL).await.unwrap(), Filled::Refused, "{target}");
        assert_eq!(hit(store, &key).await.as_deref(), Some("next"), "{target}");
        invalidate(store, cache_core::Target::All).await;
    }
}

#[tokio::test]
async fn a_fill_that_is_sent_twice_answers_the_same() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    let first = lease(store, &key).await;
    for _ in 0..2 {
        assert_eq!(store.fill(&key, &first, bytes("one"), TTL).await.unwrap(), Filled::Stored);
    }
    let second = refresh(store, &key, first.id).await;
    for _ in 0..2 {
        assert_eq!(store.fill(&key, &second, bytes("two"), TTL).await.unwrap(), Filled::Stored);
    }
    assert_eq!(store.fill(&key, &first, bytes("one"), TTL).await.unwrap(), Filled::Refused);
    assert_eq!(hit(store, &key).await.as_deref(), Some("two"));
}

const MINUTE: i64 = 60_000;

impl Ground {
    /// For how many milliseconds each of the tokens of `page(7, 1)` still lives.
    fn tokens_left(&self) -> [i64; 3] {
        ["page#g", "page:7#g", "#tag:owner:7#g"].map(|name| self.left(name))
    }

    fn left(&self, name: &str) -> i64 {
        self.cli(&["PTTL", &self.name(name)])[1..].parse().expect("a number")
    }
}

async fn fill_for(store: &RedisStore, key: &Key, lease: &Lease, ttl: Duration) {
    assert_eq!(store.fill(key, lease, bytes("one"), ttl).await.expect("Redis answers"), Filled::Stored);
}

#[tokio::test]
async fn tokens_outlive_what_is_below_them() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    let first = lease(store, &key).await;
    assert!(ground.tokens_left().iter().all(|left| (9 * MINUTE..=10 * MINUTE).contains(left)), "a load's life");
    fill_for(store, &key, &first, Duration::from_secs(3600)).await;
    assert!(ground.tokens_left().iter().all(|left| (119 * MINUTE..=120 * MINUTE).contains(left)), "twice the TTL");
    assert_eq!(ground.left("#root"), -1);

    // A shorter one shortens nothing.
    let short = lease(store, &page(7, 2)).await;
    fill_for(store, &page(7, 2), &short, Duration::from_secs(1)).await;
    assert!(ground.tokens_left().iter().all(|left| *left > 119 * MINUTE));

    // Loads, and values that are replaced, extend what is about to end.
    let expire =
        || ["page#g", "page:7#g", "#tag:owner:7#g"].map(|at| ground.cli(&["PEXPIRE", &ground.name(at), "9000"]));
    expire();
    let refreshing = refresh(store, &key, stored(store, &key).await.id).await;
    assert!(ground.tokens_left().iter().all(|left| (9 * MINUTE..=10 * MINUTE).contains(left)));
    fill_for(store, &key, &refreshing, Duration::from_secs(1 << 40)).await;
    let day = 24 * 60 * MINUTE;
    assert!(ground.tokens_left().iter().all(|left| (2 * day - MINUTE..=2 * day).contains(left)), "twice the longest");
    expire();
    let third = lease(store, &page(7, 3)).await;
    assert!(ground.tokens_left().iter().all(|left| *left > 9 * MINUTE));
    fill_for(store, &page(7, 3), &third, Duration::from_secs(3600)).await;
    assert!(ground.tokens_left().iter().all(|left| *left > 119 * MINUTE));
    assert_eq!(hit(store, &key).await.as_deref(), Some("one"), "extended, not replaced");
}

#[tokio::test]
async fn tokens_of_short_lived_entries_go_soon() {
    let ground = Ground::shared().await;
    for owner in 0..1_000 {
        let (key, ttl) = (page(owner, 1), Duration::from_secs(1));
        let lease = lease(&ground.store, &key).await;
        fill_for(&ground.store, &key, &lease, ttl).await;
    }
    let longest = ground.cli(&[
        "EVAL",
        "local longest = 0 for owner = 0, 999 do for _, name in ipairs({'page:' .. owner, '#tag:owner:' .. owner}) do \
         local left = redis.call('PTTL', ARGV[1] .. name .. '#g') if left < 0 then return left end \
         longest = math.max(longest, left) end end return longest",
        "0",
        &ground.name(""),
    ]);
    let longest: i64 = longest[1..].parse().expect("a number");
    assert!((1..=10 * MINUTE + 1_000).contains(&longest), "{longest} ms");
}

#[tokio::test]
async fn a_quarantine_ends_by_its_own_term_whatever_is_filled_beside_it() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    let lease = lease(store, &key).await;
    ground.cli(&["SET", &ground.name("#tag:owner:7#g"), "Qsomebody;", "PX", "60000"]);
    assert_eq!(store.fill(&key, &lease, bytes("late"), TTL).await.unwrap(), Filled::Refused);
    assert!(ground.left("#tag:owner:7#g") <= MINUTE);
}

#[tokio::test]
async fn no_entry_lives_for_more_than_a_day() {
    let ground = Ground::shared().await;
    let (store, key) = (&ground.store, page(7, 1));
    let lease = lease(store, &key).await;
    store.fill(&key, &lease, bytes("one"), Duration::from_secs(1 << 40)).await.unwrap();
    assert!(ground.cli(&["TTL", &ground.name(&key)])[1..].parse::<i64>().unwrap() <= 24 * 60 * 60);
}

#[tokio::test]
async fn scripts_that_redis_lost_are_loaded_again() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    server.cli(&["SCRIPT", "FLUSH"]);
    fill(&ground.store, &page(7, 1), "one").await;
    server.cli(&["SCRIPT", "FLUSH"]);
    invalidate(&ground.store, page(7, 1).into_entry()).await;
    assert_eq!(hit(&ground.store, &page(7, 1)).await, None);
}

#[tokio::test]
async fn full_memory_refuses_loads_but_never_an_invalidation() {
    let Some(server) = RedisServer::own() else { return };
    let ground = Ground::on(&server).await;
    fill(&ground.store, &page(7, 1), "one").await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = ground.store.acquire(&page(7, 2), LOAD, LEASE).await;
    assert!(matches!(refused, Err(cache_core::store::StoreError::Failed(_))), "{refused:?}");
    assert!(hit(&ground.store, &page(7, 1)).await.is_some(), "still connected");
    invalidate(&ground.store, Key::new("page").into_node()).await;
    assert_eq!(hit(&ground.store, &page(7, 1)).await, None);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    let root = ground.name("#root");
    server.cli(&["SET", &root, "of another incarnation"]);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    drop(ground.another().await);
    assert_eq!(server.cli(&["EXISTS", &root]), ":0", "a fence works too");
}

#[tokio::test]
async fn writes_that_are_refused_are_told_once_and_once_when_they_work_again() {
    let Some(server) = RedisServer::own() else { return };
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    let ground = Ground::on(&server).await;
    for _ in 0..2 {
        let (refusals, recoveries) = (log.count("WARN"), log.count("stores again"));
        server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        for owner in 0..20 {
            assert!(ground.store.acquire(&page(owner, 1), LOAD, LEASE).await.is_err());
            assert_eq!(hit(&ground.store, &page(owner, 1)).await, None, "reads are answered");
        }
        assert_eq!(log.count("WARN") - refusals, 1, "{}", log.text());
        assert!(log.text().contains("refuses to store"), "{}", log.text());
        server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while log.count("stores again") == recoveries {
            assert!(tokio::time::Instant::now() < deadline, "{}", log.text());
            let lease = lease(&ground.store, &page(7, 1)).await;
            ground.store.release(&page(7, 1), &lease).await.expect("Redis answers");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for owner in 0..20 {
            fill(&ground.store, &page(owner, 2), "one").await;
            invalidate(&ground.store, page(owner, 2).into_entry()).await;
        }
        assert_eq!(log.count("stores again") - recoveries, 1, "{}", log.text());
    }
}
