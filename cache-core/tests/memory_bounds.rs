//! The memory store is bounded: in bytes, and in what it remembers beside its entries.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{
    Clock, Key, ManualClock, MemoryStore, Outcome, Store, Tag, Target,
    codec::Meta,
    store::{Acquired, Filled, Payload, Purpose, Read},
};

const HOUR: Duration = Duration::from_secs(3600);

async fn put(store: &MemoryStore, key: &Key, payload: Payload, ttl: Duration) -> Filled {
    match store.acquire(key, Purpose::Load { unreadable: None }, HOUR).await.expect("answers") {
        Acquired::Lease(lease) => store.fill(key, &lease, payload, ttl).await.expect("answers"),
        other => panic!("expected a lease, got {other:?}"),
    }
}

fn bytes(len: usize) -> Payload {
    Payload::Bytes(Bytes::from(vec![0; len]))
}

fn is_hit(store: &MemoryStore, key: &Key) -> bool {
    matches!(store.read_now(key), Some(Read::Hit(_)))
}

#[tokio::test]
async fn the_weight_stays_below_the_limit_and_what_is_used_stays() {
    let limit = 1 << 20;
    let store = MemoryStore::new(limit);
    let favourite = Key::new("favourite");
    put(&store, &favourite, bytes(1000), HOUR).await;
    for number in 0..8_000 {
        put(&store, &Key::new("f").arg(&number), bytes(number % 3000), HOUR).await;
        assert!(store.bytes() <= limit as u64, "{} bytes", store.bytes());
        assert!(is_hit(&store, &favourite), "what is read again and again was evicted at {number}");
    }
    assert!(store.entries() > 200, "only {} entries are kept", store.entries());
    assert_eq!(store.entries() as u64 + store.evictions(), 8_001);
}

#[tokio::test]
async fn keys_tokens_and_objects_are_part_of_the_weight() {
    let store = MemoryStore::new(1 << 20);
    let long = Key::new("f").arg(&"x".repeat(100)).arg(&"y".repeat(100)).tag(Tag::new(&"z".repeat(100)));
    put(&store, &long, bytes(0), HOUR).await;
    assert!(store.bytes() > 600, "{} bytes for a key of {}", store.bytes(), long.as_str().len());
    let before = store.bytes();
    put(&store, &Key::new("f"), Payload::Object { value: Arc::new(()), meta: Meta::default(), weight: 100_000 }, HOUR)
        .await;
    assert!(store.bytes() > before + 100_000);
}

#[tokio::test]
async fn a_value_that_is_larger_than_the_limit_is_refused_and_frees_its_key() {
    let store = MemoryStore::new(1 << 16);
    let (large, small) = (Key::new("large"), Key::new("small"));
    put(&store, &small, bytes(10), HOUR).await;
    for payload in [bytes(1 << 16), Payload::Object { value: Arc::new(()), meta: Meta::default(), weight: usize::MAX }]
    {
        assert_eq!(put(&store, &large, payload, HOUR).await, Filled::Refused);
        assert!(matches!(store.read_now(&large), Some(Read::Miss { loading: None })));
    }
    assert!(is_hit(&store, &small), "a value that was not kept pushed another out");
    assert_eq!(put(&store, &large, bytes(10), HOUR).await, Filled::Stored);
}

#[tokio::test]
async fn with_a_limit_of_zero_everything_is_a_miss() {
    let store = MemoryStore::new(0);
    let key = Key::new("f").arg(&1);
    for _ in 0..3 {
        assert_eq!(put(&store, &key, bytes(1), HOUR).await, Filled::Refused);
        assert!(!is_hit(&store, &key));
    }
    let all = [Target::All, Target::Glob("*".into()), key.clone().into_node(), key.into_entry()];
    assert_eq!(store.invalidate(&all).await.expect("answers"), Outcome::Applied);
    assert_eq!((store.entries(), store.bytes(), store.tokens()), (0, 0, 0));
}

#[tokio::test]
async fn expired_values_go_when_they_are_touched() {
    let time = ManualClock::new();
    let store = MemoryStore::with_clock(1 << 20, Clock::from(&time));
    let key = Key::new("f");
    put(&store, &key, bytes(10), Duration::from_secs(1)).await;
    time.advance(Duration::from_secs(1));
    assert_eq!(store.entries(), 1);
    assert!(!is_hit(&store, &key));
    assert_eq!((store.entries(), store.bytes(), store.tokens(), store.evictions()), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_ttl_is_cut_to_the_longest() {
    let time = ManualClock::new();
    let store = MemoryStore::with_clock(1 << 20, Clock::from(&time));
    let key = Key::new("f");
    put(&store, &key, bytes(10), Duration::MAX).await;
    time.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert!(is_hit(&store, &key));
    time.advance(Duration::from_secs(1));
    assert!(!is_hit(&store, &key));
}

/// Many nodes come and go, by eviction and by invalidation.
#[tokio::test]
async fn tokens_go_with_the_entries_that_refer_to_them() {
    let store = MemoryStore::new(1 << 18);
    for number in 0..60_000 {
        let key = Key::new("f").arg(&number).arg(&1).tag(Tag::new("t:").arg(&number));
        put(&store, &key, bytes(8), HOUR).await;
        if number % 1000 == 0 {
            assert!(store.tokens() <= 2 * store.entries() + 1, "{} for {}", store.tokens(), store.entries());
        }
    }
    assert!(store.entries() < 1000);
    assert!(store.tokens() <= 2 * store.entries() + 1);

    for number in 0..200_000 {
        store.invalidate_now(&[Key::new("g").arg(&number).into_node(), Target::Tag(Tag::new("u:").arg(&number))]);
    }
    assert!(store.tokens() <= 2 * store.entries() + 1);

    store.invalidate_now(&[Target::All]);
    assert_eq!((store.entries(), store.bytes(), store.tokens()), (0, 0, 0));
}

#[tokio::test]
async fn invalidated_entries_take_their_tokens_along_when_they_are_touched() {
    let store = MemoryStore::new(1 << 20);
    let key = Key::new("f").arg(&1).arg(&2).tag(Tag::new("t"));
    put(&store, &key, bytes(8), HOUR).await;
    assert_eq!(store.tokens(), 3);
    store.invalidate_now(&[Target::Tag(Tag::new("t"))]);
    assert_eq!((store.entries(), store.tokens()), (1, 2));
    assert!(!is_hit(&store, &key));
    assert_eq!((store.entries(), store.tokens()), (0, 0));
}

/// A glob lets other tasks run in between, and what it has not reached yet falls all the same.
#[tokio::test]
async fn a_glob_over_many_entries_gives_others_a_turn() {
    let store = Arc::new(MemoryStore::new(16 << 20));
    let keys: Vec<_> = (0..5_000).map(|number| Key::new("f").arg(&number)).collect();
    for key in &keys {
        put(&store, key, bytes(8), HOUR).await;
    }
    assert_eq!(store.entries(), 5_000);
    let glob = tokio::spawn({
        let store = store.clone();
        async move { store.invalidate(&[Target::Glob("f:*".into())]).await }
    });
    let mut seen_half_way = false;
    while !glob.is_finished() {
        seen_half_way |= (1..5_000).contains(&store.entries());
        tokio::task::yield_now().await;
    }
    assert!(seen_half_way);
    assert_eq!(store.entries(), 0);
}
