//! What an operator sees of a real Redis is what is there, on one server and in a cluster.

mod common;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cache_core::{
    Cache, Key, Policy, Store, Tag, Target,
    inspect::{Cursor, Kind, Naming, Validity},
    store::{HolderId, StoreError},
};
use common::*;
use test_support::{RedisServer, cli};

/// A cache over a store, which is handed out too.
async fn cache(url: &str, namespace: &str) -> (Cache, Arc<dyn Store>) {
    let store = cache_redis::RedisStore::connect(config(url, namespace)).await.expect("Redis is there");
    let store: Arc<dyn Store> = Arc::new(store);
    (Cache::builder().store(Arc::clone(&store)).build().expect("it is complete"), store)
}

async fn load(cache: &Cache, key: Key, value: &str) {
    let value = value.to_owned();
    let policy = Policy::new(Duration::from_secs(600));
    let loaded: Result<String, std::convert::Infallible> =
        cache.get_or_load(&key, &policy, || async { Ok(value) }).await;
    loaded.expect("it does not fail");
}

/// All that a walk finds in pages of a few.
async fn all(cache: &Cache, glob: &str) -> BTreeSet<String> {
    let (mut found, mut at) = (BTreeSet::new(), None::<Cursor>);
    loop {
        let page = cache.inspect().list(glob, at.as_ref(), 3).await.expect("Redis answers");
        found.extend(page.items.into_iter().map(|item| item.path));
        match page.next {
            Some(next) => at = Some(next.as_str().parse().expect("a cursor is any text")),
            None => return found,
        }
    }
}

fn paths(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|&path| path.to_owned()).collect()
}

/// What holds on one server and in a cluster.
async fn check(url: &str) {
    let namespace = test_support::unique("inspect");
    let (cache, store) = cache(url, &namespace).await;
    for owner in 1..=3 {
        for page in 0..4 {
            load(&cache, Key::new("page").arg(&owner).arg(&page), "text").await;
        }
    }
    load(&cache, Key::new("page*").arg(&"<b>"), "text").await;
    load(&cache, Key::new("tagged").arg(&1).tag(Tag::new("odd")), "text").await;

    assert_eq!(all(&cache, "*").await.len(), 14);
    assert_eq!(all(&cache, "page:2:*").await, paths(&["page:2:0", "page:2:1", "page:2:2", "page:2:3"]));
    assert_eq!(all(&cache, "nothing*").await, paths(&[]));

    let inspect = cache.inspect();
    let key = Key::of_encoded("page:2:1").expect("it is a key");
    let seen = inspect.look(&key).await.expect("Redis answers").expect("it is there");
    assert_eq!((seen.item.kind, seen.item.validity), (Kind::Value, Some(Validity::Valid)));
    assert_eq!((seen.item.codec, seen.item.is_negative), (Some("postcard"), false));
    let ttl = seen.item.ttl.expect("it ends");
    assert!(ttl > Duration::from_secs(500) && ttl <= Duration::from_secs(600), "{ttl:?}");
    assert!(seen.item.load_time.is_some() && seen.item.bytes > 65 + 28, "{seen:?}");
    let unknown = inspect.look(&Key::new("tagged").arg(&1)).await.unwrap().expect("it is there");
    assert_eq!(unknown.item.validity, Some(Validity::Unknown), "its tags are not in its key");
    assert!(inspect.look(&Key::new("page").arg(&9)).await.unwrap().is_none());

    // What an invalidation would hit.
    let preview =
        async |naming: Naming, text: &str| inspect.preview(&naming.target(text).unwrap(), 1_000).await.unwrap();
    let node = preview(Naming::Node, "page:2").await;
    assert_eq!((node.count, node.is_at_least, node.some.len()), (4, false, 4));
    assert_eq!(preview(Naming::Node, "page").await.count, 12, "and not those of `page*`");
    assert_eq!(preview(Naming::Entry, "page:1:1").await.some, ["page:1:1"]);
    assert_eq!(preview(Naming::Entry, "page:9:9").await.count, 0);
    assert_eq!(preview(Naming::Glob, "page:?:[12]").await.count, 6);
    assert_eq!(inspect.preview(&Target::All, 1_000).await.unwrap().count, 14);
    assert_eq!(preview(Naming::Tag, "odd").await.tag_in_use, Some(true));
    assert_eq!(preview(Naming::Tag, "even").await.tag_in_use, Some(false));

    // What is invalid and not removed yet is told from what is valid.
    cache.invalidate([Naming::Node.target("page:2").unwrap()]).await;
    let seen = inspect.look(&key).await.unwrap().expect("it is not removed yet");
    assert_eq!(seen.item.validity, Some(Validity::Unknown), "this program has no such function");

    // What is no value.
    let (lease, held) = (Key::new("lease"), Key::new("held"));
    store.acquire(&lease, LOAD, LEASE).await.unwrap();
    store.hold(&[held.clone().into_entry()], HolderId::new(), LEASE).await.unwrap();
    for (key, kind) in [(lease, Kind::Loading), (held, Kind::Held)] {
        let seen = inspect.look(&key).await.unwrap().expect("it is there");
        assert_eq!((seen.item.kind, seen.item.validity, seen.bytes), (kind, None, None), "{key}");
    }

    let servers = inspect.servers().await.unwrap();
    assert!(!servers.is_empty());
    for server in servers {
        assert!(server.version.as_ref().is_some_and(|version| version.starts_with("Redis ")), "{server:?}");
        assert!(server.memory_bytes > Some(0) && server.clients > Some(0) && server.keys.is_some(), "{server:?}");
    }
}

#[tokio::test]
async fn one_server_shows_what_it_has() {
    check(&test_support::shared_url()).await;
}

#[tokio::test]
async fn a_cluster_shows_what_it_has() {
    let ground = clustered::Clustered::start(0).expect("there are servers to start");
    check(&ground.cluster.url()).await;
}

#[tokio::test]
async fn what_others_have_put_there_is_foreign() {
    let ground = Ground::shared().await;
    let (cache, _) = cache(&ground.url, &ground.namespace).await;
    cli(&ground.url, &["SET", &ground.name("a:1"), "hello"]);
    cli(&ground.url, &["RPUSH", &ground.name("a:2"), "hello"]);
    cli(&ground.url, &["SET", &ground.name("not a key"), "hello"]);
    let page = cache.inspect().list("*", None, 100).await.unwrap();
    assert!(page.items.iter().all(|item| item.kind == Kind::Foreign && item.ttl.is_none()), "{page:?}");
    assert_eq!(page.items.iter().map(|item| item.path.as_str()).collect::<Vec<_>>(), ["a:1", "a:2"]);
}

#[tokio::test]
async fn what_is_out_of_reach_says_so_and_a_lost_cursor_too() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let (cache, _) = cache(&server.url(), "inspect").await;
    load(&cache, Key::new("page"), "text").await;
    let lost = cache.inspect().list("*", Some(&Cursor::new("7@elsewhere:1")), 10).await;
    let Err(StoreError::Failed(error)) = lost else { panic!("{lost:?}") };
    assert_eq!(error.to_string(), "the walk cannot go on at `7@elsewhere:1`: begin again");
    server.kill();
    let began = std::time::Instant::now();
    while cache.inspect().list("*", None, 10).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(60), "a dead server is noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(cache.inspect().servers().await, Err(StoreError::Unavailable)));
}
