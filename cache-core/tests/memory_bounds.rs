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

fn object(weight: usize, pinned: bool) -> Payload {
    Payload::Object { value: Arc::new(()), meta: Meta { pinned, ..Meta::default() }, weight }
}

#[tokio::test]
async fn what_is_pinned_stays_whatever_comes_and_goes_when_it_is_over() {
    let limit = 1 << 20;
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(limit, Clock::Manual(clock.clone()));
    let pinned = |number: i32| Key::new("pinned").arg(&number);
    let value = Arc::new(());
    let meta = Meta { pinned: true, ..Meta::default() };
    let payload = || Payload::Object { value: Arc::clone(&value) as _, meta, weight: 1_000 };
    for number in 0..100 {
        put(&store, &pinned(number), payload(), HOUR).await;
    }
    let flood = async |round: i32| {
        for number in 0..2_000 {
            put(&store, &Key::new("flood").arg(&round).arg(&number), object(2_000, false), 10 * HOUR).await;
            assert!(store.bytes() <= limit as u64, "{} bytes", store.bytes());
        }
    };
    flood(1).await;
    assert!((0..100).all(|number| is_hit(&store, &pinned(number))), "what is pinned was evicted");

    store.invalidate_now(&[Target::Entry(pinned(0).as_str().to_owned())]);
    assert!(!is_hit(&store, &pinned(0)));
    put(&store, &pinned(0), payload(), HOUR).await;
    flood(2).await;
    assert!(is_hit(&store, &pinned(0)), "it is pinned again");

    clock.advance(2 * HOUR);
    flood(3).await;
    assert_eq!(Arc::strong_count(&value), 1, "what has expired makes room");
}

#[tokio::test]
async fn no_more_than_half_of_the_memory_can_be_pinned() {
    let limit = 1 << 20;
    let store = MemoryStore::new(limit);
    for number in 0..2_000 {
        put(&store, &Key::new("pinned").arg(&number), object(2_000, true), HOUR).await;
        assert!(store.bytes() <= limit as u64, "{} bytes", store.bytes());
    }
    let kept = (0..2_000).filter(|number| is_hit(&store, &Key::new("pinned").arg(number))).count();
    assert!(kept > 150, "{kept} are kept: the first ones as pinned, of the others the latest");
    assert!((0..100).all(|number| is_hit(&store, &Key::new("pinned").arg(&number))), "the first ones are pinned");
    let (late, large) = (Key::new("late"), Key::new("large"));
    put(&store, &late, object(1_000, false), HOUR).await;
    assert!(is_hit(&store, &late), "there is room for others");
    assert_eq!(put(&store, &large, object(1 << 20, true), HOUR).await, Filled::Refused);
}
