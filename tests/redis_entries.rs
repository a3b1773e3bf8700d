//! Entries in Redis: readable keys, an operator's `unlink` is honoured, and what cannot be read is replaced.

mod source;

use redis::{Commands, Connection};
use source::{Service, Source};
use staleproof::{Cache, L1};
use test_support::{shared_url, unique};

async fn service(namespace: &str, source: &std::sync::Arc<Source>) -> Service {
    let cache = Cache::builder()
        .namespace(namespace)
        .redis(shared_url())
        .call_timeout(std::time::Duration::from_secs(5))
        .l1(L1::Off)
        .connect()
        .await
        .expect("Redis is there");
    Service::new(cache, source)
}

fn operator() -> Connection {
    redis::Client::open(shared_url()).and_then(|client| client.get_connection()).expect("Redis is there")
}

#[tokio::test]
async fn keys_are_readable_and_an_operators_unlink_is_honoured() {
    let namespace = unique("operator");
    let service = service(&namespace, &Source::new()).await;
    service.page(7, "a:b").await;
    let mut operator = operator();
    let mut keys: Vec<String> =
        operator.scan_match(format!("{namespace}:*")).expect("scan").map(|key| key.expect("utf-8")).collect();
    keys.sort();
    let expected = ["#root", "#tag:owner:7#g", "paged#g", "paged:7#g", "paged:7:a%3Ab"];
    assert_eq!(keys, expected.map(|key| format!("{namespace}:{key}")));

    assert_eq!(service.page(7, "a:b").await, 1);
    assert_eq!(service.source.loads(), 1);
    let new = service.source.write();
    for key in keys {
        let _: usize = operator.unlink(&key).expect("unlink");
        assert_eq!(service.page(7, "a:b").await, new, "after unlink of {key}");
    }
    assert_eq!(service.source.loads(), 6, "each of the five was enough to make the entry a miss");
}

#[tokio::test]
async fn corrupt_truncated_and_foreign_values_are_misses_and_are_replaced() {
    let namespace = unique("corrupt");
    let source = Source::new();
    let service = service(&namespace, &source).await;
    service.page(7, "x").await;
    let key = format!("{namespace}:paged:7:x");
    let mut operator = operator();
    let good: Vec<u8> = operator.get(&key).expect("get");
    let mut loads = source.loads();
    for length in [0, 1, 10, 64, 65, 70, good.len() - 1] {
        let _: () = operator.set(&key, &good[..length]).expect("set");
        assert_eq!(service.page(7, "x").await, 1);
        loads += 1;
        assert_eq!(source.loads(), loads, "cut to {length} bytes: not a miss");
        assert_eq!(service.page(7, "x").await, 1);
        assert_eq!(source.loads(), loads, "cut to {length} bytes: not replaced");
    }
    // Kind, stamp and everything of the core's; not the 32 bytes in between that only name the value.
    for at in (0..33).chain(65..good.len()) {
        let good: Vec<u8> = operator.get(&key).expect("get");
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        let _: () = operator.set(&key, &bad).expect("set");
        assert_eq!(service.page(7, "x").await, 1);
        assert!(operator.get::<_, Vec<u8>>(&key).expect("get") != bad, "byte {at}: the bad value is still there");
    }
    loads = source.loads();
    let _: () = operator.set(&key, "somebody else's value").expect("set");
    service.page(7, "x").await;
    assert_eq!(source.loads(), loads + 1);
    let _: () = operator.del(&key).expect("del");
    let _: () = operator.rpush(&key, "not even a string").expect("rpush");
    service.page(7, "x").await;
    service.page(7, "x").await;
    assert_eq!(source.loads(), loads + 2, "a list at the key is replaced, and then it is a hit");
}

mod old {
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Row {
        pub(crate) width: u32,
        pub(crate) height: u32,
    }
}

mod new {
    /// The same row of the next release, in which two fields of one type have changed places.
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Row {
        pub(crate) height: u32,
        pub(crate) width: u32,
    }
}

#[tokio::test]
async fn two_releases_side_by_side_never_misread_each_other_and_invalidate_each_other() {
    use std::{convert::Infallible, time::Duration};

    use staleproof::{Key, Outcome, Policy};

    let namespace = unique("releases");
    let connect = || async {
        Cache::builder()
            .namespace(&namespace)
            .redis(shared_url())
            .call_timeout(Duration::from_secs(5))
            .connect()
            .await
            .expect("Redis is there")
    };
    let (one, two) = (connect().await, connect().await);
    let (key, policy) = (Key::new("row").arg(&1), Policy::new(Duration::from_secs(60)));
    for round in 0..3 {
        let row = one
            .get_or_load(&key, &policy, async || Ok::<_, Infallible>(old::Row { width: 1, height: 2 }))
            .await
            .unwrap_or_else(|never| match never {});
        assert_eq!((row.width, row.height), (1, 2), "round {round}");
        let row = two
            .get_or_load(&key, &policy, async || Ok::<_, Infallible>(new::Row { width: 1, height: 2 }))
            .await
            .unwrap_or_else(|never| match never {});
        assert_eq!((row.width, row.height), (1, 2), "round {round}");
    }
    // Stored by the new release, invalidated by the old one.
    assert_eq!(one.invalidate([key.clone().into_entry()]).await, Outcome::Applied);
    let before = two.stats().total.loads;
    two.get_or_load(&key, &policy, async || Ok::<_, Infallible>(new::Row { width: 3, height: 4 }))
        .await
        .unwrap_or_else(|never| match never {});
    assert_eq!(two.stats().total.loads, before + 1);
}

/// A process died in a load that took long enough for its lease to be renewed: the lease stands for most of a second.
#[tokio::test]
async fn nobody_waits_for_the_lease_of_a_process_that_has_gone_silent() {
    let (namespace, source) = (unique("silent"), Source::new());
    let service = service(&namespace, &source).await;
    let key = format!("{namespace}:paged:7:x");
    let mut operator = operator();
    // A machine that stalls for longer than the lease lasts shows nothing: once more, then.
    let was_overtaken = async {
        for _ in 0..5 {
            service.page(7, "x").await;
            let value: Vec<u8> = operator.get(&key).expect("get");
            let lease = [b"L", &value[1..33], &[b'd'; 32]].concat();
            let _: () = redis::cmd("SET").arg(&key).arg(lease).arg("PX").arg(840).query(&mut operator).expect("SET");
            let loads = source.loads();
            service.page(7, "x").await;
            assert_eq!(source.loads(), loads + 1);
            let left: Vec<u8> = operator.get(&key).unwrap_or_default();
            if left.first() == Some(&b'L') {
                return true;
            }
        }
        false
    };
    assert!(was_overtaken.await, "it waited until the lease had lapsed");
}
