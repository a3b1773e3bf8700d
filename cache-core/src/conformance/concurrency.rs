//! The rules hold when calls overlap, and when they are dropped half-way.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

use bytes::Bytes;

use super::trial::{LOAD, LONG, SHORT, Trial, bytes_of};
use crate::{
    Key, Outcome, Store, Target,
    store::{Acquired, Filled, Payload, Purpose, Read},
};

pub(super) async fn of_many_loads_at_once_one_gets_the_lease(t: &Trial<'_>) {
    for round in 0..20 {
        one_of_many(t, &t.root().arg(&round), LOAD).await;
    }
}

pub(super) async fn of_many_refreshes_at_once_one_gets_the_lease(t: &Trial<'_>) {
    for round in 0..20 {
        let key = t.root().arg(&round);
        let id = t.put(&key, "value").await;
        one_of_many(t, &key, Purpose::Refresh(id)).await;
    }
}

async fn one_of_many(t: &Trial<'_>, key: &Key, purpose: Purpose) {
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let (store, key) = (t.store.clone(), key.clone());
            tokio::spawn(async move { store.acquire(&key, purpose, LONG).await })
        })
        .collect();
    let (mut granted, mut waiting) = (Vec::new(), Vec::new());
    for task in asking {
        match task.await.expect("an acquire does not panic").expect("an acquire is answered") {
            Acquired::Lease(lease) => granted.push(lease),
            Acquired::Wait { lease: leader, .. } => waiting.push(leader),
            other => panic!("expected a lease or to wait, got {other:?}"),
        }
    }
    t.check(granted.len() == 1, &format!("one of many gets the lease, not {}", granted.len()));
    t.check(waiting.iter().all(|leader| *leader == granted[0].id), "the others wait for that one");
    t.check(t.fill(key, &granted[0], "value", LONG).await == Filled::Stored, "the one lease is good");
}

pub(super) async fn dropped_calls_leave_the_store_usable(t: &Trial<'_>) {
    let (key, other) = (t.key("a"), t.key("b"));
    let lease = t.lease(&other, SHORT).await;
    let payload = || Payload::Bytes(Bytes::from_static(b"dropped"));
    let targets = [t.root().into_node(), key.clone().into_entry(), Target::Tag(t.tag("x")), t.glob(":*")];
    for _ in 0..20 {
        poll_once(t.store.read(&key));
        poll_once(t.store.acquire(&key, LOAD, SHORT));
        poll_once(t.store.acquire(&key, Purpose::Refresh(lease.id), SHORT));
        poll_once(t.store.renew(&other, &lease, SHORT));
        poll_once(t.store.fill(&other, &lease, payload(), SHORT));
        poll_once(t.store.release(&other, &lease));
        poll_once(t.store.invalidate(&targets));
    }
    // What was sent may still take effect, and what it left lapses.
    t.pass(SHORT).await;
    t.invalidate(&targets).await;
    for key in [&key, &other] {
        t.expect_miss(key, None, "after dropped calls and an invalidation").await;
        t.put(key, "value").await;
        t.expect_hit(key, "value", "after dropped calls").await;
    }
}

fn poll_once(call: impl Future) {
    let _ = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
}

const WRITES: u64 = 120;

/// A source whose versions only grow. A value below the version that was invalidated last, before the read began, is stale.
struct Source {
    store: Arc<dyn Store>,
    key: Key,
    targets: Vec<Target>,
    written: AtomicU64,
    /// The newest version whose invalidation has returned.
    settled: AtomicU64,
    done: AtomicBool,
}

pub(super) async fn nothing_stale_is_read_while_loads_and_invalidations_race(t: &Trial<'_>) {
    let key = t.key("a").tag(t.tag("x"));
    let targets = vec![
        key.clone().into_entry(),
        t.root().into_node(),
        t.root().arg("a").into_node(),
        Target::Tag(t.tag("x")),
        t.glob(":a:*"),
        key.clone().into_node(),
    ];
    let source = Arc::new(Source {
        store: t.store.clone(),
        key,
        targets,
        written: AtomicU64::new(0),
        settled: AtomicU64::new(0),
        done: AtomicBool::new(false),
    });
    let mut tasks = vec![tokio::spawn(write(source.clone()))];
    tasks.extend((0..4).map(|_| tokio::spawn(load(source.clone()))));
    for task in tasks {
        task.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    }
    source.check(WRITES).await;
}

async fn write(source: Arc<Source>) {
    for version in 1..=WRITES {
        source.written.store(version, Ordering::SeqCst);
        let target = &source.targets[usize::try_from(version).expect("small") % source.targets.len()];
        let outcome = source.store.invalidate(std::slice::from_ref(target)).await.expect("an invalidation is answered");
        assert_eq!(outcome, Outcome::Applied, "an invalidation of a store within reach is applied");
        source.settled.store(version, Ordering::SeqCst);
        for _ in 0..version % 4 {
            tokio::task::yield_now().await;
        }
    }
    source.done.store(true, Ordering::SeqCst);
}

async fn load(source: Arc<Source>) {
    let mut rounds = 0;
    while !source.done.load(Ordering::SeqCst) {
        rounds += 1;
        let id = source.check(source.settled.load(Ordering::SeqCst)).await;
        let purpose = id.map_or(LOAD, Purpose::Refresh);
        let acquired = source.store.acquire(&source.key, purpose, LONG).await.expect("an acquire is answered");
        if let Acquired::Lease(lease) = acquired {
            let version = source.written.load(Ordering::SeqCst);
            for _ in 0..rounds % 5 {
                tokio::task::yield_now().await;
            }
            let payload = Payload::Bytes(Bytes::copy_from_slice(&version.to_le_bytes()));
            source.store.fill(&source.key, &lease, payload, LONG).await.expect("a fill is answered");
        }
        tokio::task::yield_now().await;
    }
}

impl Source {
    async fn check(&self, floor: u64) -> Option<crate::store::LeaseId> {
        let Read::Hit(stored) = self.store.read(&self.key).await.expect("a read is answered") else { return None };
        let version = u64::from_le_bytes(bytes_of(&stored).try_into().expect("what was stored"));
        assert!(version >= floor, "version {version} was read after the invalidation for version {floor} had returned");
        Some(stored.id)
    }
}
