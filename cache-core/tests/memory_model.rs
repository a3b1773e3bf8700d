//! The memory store against a plain map that does the same in the simplest way, over random histories.
//!
//! The model invalidates by removing whatever a target covers from its map; it knows no tokens.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{
    Clock, Key, ManualClock, MemoryStore, Outcome, Store, Tag, Target,
    glob::Glob,
    store::{Acquired, Filled, Lease, LeaseId, Payload, Purpose, Read},
};
use proptest::prelude::*;

fn keys() -> Vec<Key> {
    let mut keys = vec![Key::new("f"), Key::new("f").arg(&1), Key::new("g").tag(Tag::new("x"))];
    for (a, b) in [(1, 1), (1, 11), (11, 1)] {
        keys.push(Key::new("f").arg(&a).arg(&b).tag(Tag::new("t:").arg(&b)));
    }
    // The same place under other tags.
    keys.push(Key::new("f").arg(&1).tag(Tag::new("x")));
    keys
}

fn targets() -> Vec<Target> {
    let mut targets = vec![Target::All, Target::Tag(Tag::new("x"))];
    targets.extend([1, 11].map(|b| Target::Tag(Tag::new("t:").arg(&b))));
    targets.extend(["*", "f:1*", "f:?:*", "f:[^2]", "f"].map(|glob| Target::Glob(glob.into())));
    for key in keys() {
        targets.push(key.clone().into_entry());
        targets.push(key.into_node());
    }
    targets
}

fn covers(target: &Target, key: &Key) -> bool {
    match target {
        Target::Entry(path) => key.as_str() == path,
        Target::Node(path) => key.as_str() == path || key.nodes().any(|node| node == path),
        Target::Tag(tag) => key.tags().contains(tag),
        Target::Glob(glob) => Glob::new(glob).matches(key.as_str()),
        _ => true,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Load { key: usize, lasts: u64 },
    Disregard { key: usize, lasts: u64 },
    Refresh { key: usize, lasts: u64 },
    Renew { lease: usize, lasts: u64 },
    Fill { lease: usize, ttl: u64 },
    Release(usize),
    Invalidate(Vec<usize>),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (key, lease, span) = (0..keys().len(), 0..8usize, 1..6u64);
    prop_oneof![
        4 => key.clone().prop_map(Step::Read),
        6 => (key.clone(), span.clone()).prop_map(|(key, lasts)| Step::Load { key, lasts }),
        1 => (key.clone(), span.clone()).prop_map(|(key, lasts)| Step::Disregard { key, lasts }),
        3 => (key, span.clone()).prop_map(|(key, lasts)| Step::Refresh { key, lasts }),
        1 => (lease.clone(), span.clone()).prop_map(|(lease, lasts)| Step::Renew { lease, lasts }),
        6 => (lease.clone(), span.clone()).prop_map(|(lease, ttl)| Step::Fill { lease, ttl }),
        1 => lease.prop_map(Step::Release),
        2 => prop::collection::vec(0..targets().len(), 1..3).prop_map(Step::Invalidate),
        2 => span.prop_map(Step::Pass),
    ]
}

#[derive(Clone, Copy)]
struct Grant {
    id: LeaseId,
    until: Instant,
}

enum Place {
    Loading(Grant),
    Valid { id: LeaseId, content: u64, until: Instant, refresh: Option<Grant> },
}

/// The plain map: what stands at a path, and the key under which it was put there.
#[derive(Default)]
struct Model(HashMap<String, (Key, Place)>);

impl Model {
    fn good(&mut self, key: &Key, now: Instant) -> Option<&mut Place> {
        let (of, place) = self.0.get_mut(key.as_str())?;
        let until = match place {
            Place::Loading(grant) => grant.until,
            Place::Valid { until, .. } => *until,
        };
        (now < until && of.tags() == key.tags()).then_some(place)
    }

    /// Where this lease stands, if it is still good.
    fn grant(&mut self, key: &Key, lease: &Lease, now: Instant) -> Option<&mut Grant> {
        let grant = match (self.good(key, now)?, lease.replaces) {
            (Place::Loading(grant), None) => grant,
            (Place::Valid { id, refresh: Some(grant), .. }, Some(replaced)) if *id == replaced => grant,
            _ => return None,
        };
        (grant.id == lease.id && now < grant.until).then_some(grant)
    }
}

struct History {
    store: MemoryStore,
    time: ManualClock,
    model: Model,
    leases: Vec<(Key, Lease)>,
    contents: u64,
}

impl History {
    fn new() -> Self {
        let time = ManualClock::new();
        let store = MemoryStore::with_clock(1 << 20, Clock::from(&time));
        Self { store, time, model: Model::default(), leases: Vec::new(), contents: 0 }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Read(key) => self.read(&keys()[key]).await,
            Step::Load { key, lasts } => self.acquire(&keys()[key], None, lasts).await,
            Step::Disregard { key, lasts } => {
                let key = &keys()[key];
                let id = self.value_id(key);
                self.acquire(key, id, lasts).await;
            }
            Step::Refresh { key, lasts } => self.refresh(&keys()[key], lasts).await,
            Step::Renew { lease, lasts } => self.renew(lease, lasts).await,
            Step::Fill { lease, ttl } => self.fill(lease, ttl).await,
            Step::Release(lease) => self.release(lease).await,
            Step::Invalidate(ref chosen) => {
                let chosen: Vec<_> = chosen.iter().map(|&target| targets()[target].clone()).collect();
                let outcome = self.store.invalidate(&chosen).await.expect("answers");
                assert_eq!(outcome, Outcome::Applied);
                self.model.0.retain(|_, (key, _)| !chosen.iter().any(|target| covers(target, key)));
            }
            Step::Pass(span) => self.time.advance(Duration::from_secs(span)),
        }
    }

    fn value_id(&mut self, key: &Key) -> Option<LeaseId> {
        match self.model.good(key, self.time.now()) {
            Some(Place::Valid { id, .. }) => Some(*id),
            _ => None,
        }
    }

    /// One of the latest leases.
    fn lease(&self, back: usize) -> Option<(Key, Lease)> {
        self.leases.iter().rev().nth(back).cloned()
    }

    async fn read(&mut self, key: &Key) {
        match (self.store.read(key).await.expect("answers"), self.model.good(key, self.time.now())) {
            (Read::Hit(stored), Some(Place::Valid { id, content, .. })) => {
                let Payload::Bytes(bytes) = stored.payload else { panic!("bytes were stored") };
                assert_eq!((stored.id, &*bytes), (*id, &content.to_le_bytes()[..]));
            }
            (Read::Miss { loading: Some(seen) }, Some(Place::Loading(grant))) => assert_eq!(seen, grant.id),
            (Read::Miss { loading: None }, None) => {}
            (read, _) => panic!("{key} is read as {read:?}"),
        }
    }

    async fn acquire(&mut self, key: &Key, unreadable: Option<LeaseId>, lasts: u64) {
        let (now, lasts) = (self.time.now(), Duration::from_secs(lasts));
        let acquired = self.store.acquire(key, Purpose::Load { unreadable }, lasts).await.expect("answers");
        match (acquired, self.model.good(key, now)) {
            (Acquired::Value(stored), Some(Place::Valid { id, .. })) if unreadable.is_none() => {
                assert_eq!(stored.id, *id);
            }
            (Acquired::Wait { lease: leader, .. }, Some(Place::Loading(grant))) => assert_eq!(leader, grant.id),
            (Acquired::Lease(lease), place) => {
                assert!(
                    match place {
                        None => true,
                        Some(Place::Valid { id, .. }) => unreadable == Some(*id),
                        Some(Place::Loading(_)) => false,
                    },
                    "{key} has something good already"
                );
                let place = Place::Loading(Grant { id: lease.id, until: now + lasts });
                self.model.0.insert(key.as_str().to_owned(), (key.clone(), place));
                self.leases.push((key.clone(), lease));
            }
            (acquired, _) => panic!("{key} answers {acquired:?}"),
        }
    }

    async fn refresh(&mut self, key: &Key, lasts: u64) {
        let (now, lasts) = (self.time.now(), Duration::from_secs(lasts));
        let id = self.value_id(key).unwrap_or(LeaseId([0; 32]));
        let acquired = self.store.acquire(key, Purpose::Refresh(id), lasts).await.expect("answers");
        match (acquired, self.model.good(key, now)) {
            (Acquired::Gone, None | Some(Place::Loading(_))) => {}
            (Acquired::Wait { lease: leader, .. }, Some(Place::Valid { refresh: Some(grant), .. })) => {
                assert!(leader == grant.id && now < grant.until);
            }
            (Acquired::Lease(lease), Some(Place::Valid { refresh, .. })) => {
                assert!(refresh.is_none_or(|grant| grant.until <= now), "{key} is being refreshed already");
                assert_eq!(lease.replaces, Some(id));
                *refresh = Some(Grant { id: lease.id, until: now + lasts });
                self.leases.push((key.clone(), lease));
            }
            (acquired, _) => panic!("{key} answers {acquired:?}"),
        }
    }

    async fn renew(&mut self, lease: usize, lasts: u64) {
        let Some((key, lease)) = self.lease(lease) else { return };
        let (now, lasts) = (self.time.now(), Duration::from_secs(lasts));
        let renewed = self.store.renew(&key, &lease, lasts).await.expect("answers");
        let grant = self.model.grant(&key, &lease, now);
        assert_eq!(renewed, grant.is_some());
        if let Some(grant) = grant {
            grant.until = now + lasts;
        }
    }

    async fn fill(&mut self, lease: usize, ttl: u64) {
        let Some((key, lease)) = self.lease(lease) else { return };
        let (now, ttl) = (self.time.now(), Duration::from_secs(ttl));
        self.contents += 1;
        let payload = Payload::Bytes(Bytes::copy_from_slice(&self.contents.to_le_bytes()));
        let filled = self.store.fill(&key, &lease, payload, ttl).await.expect("answers");
        let good = self.model.grant(&key, &lease, now).is_some();
        assert_eq!(filled, if good { Filled::Stored } else { Filled::Refused });
        if good {
            let place = Place::Valid { id: lease.id, content: self.contents, until: now + ttl, refresh: None };
            self.model.0.insert(key.as_str().to_owned(), (key, place));
        }
    }

    async fn release(&mut self, lease: usize) {
        let Some((key, lease)) = self.lease(lease) else { return };
        self.store.release(&key, &lease).await.expect("answers");
        if self.model.grant(&key, &lease, self.time.now()).is_some() {
            match self.model.good(&key, self.time.now()) {
                Some(Place::Valid { refresh, .. }) => *refresh = None,
                _ => drop(self.model.0.remove(key.as_str())),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_a_plain_map_would(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut history = History::new();
            for step in &steps {
                history.take(step).await;
                for key in &keys() {
                    history.read(key).await;
                }
            }
            assert_eq!(history.store.evictions(), 0, "the model knows no evictions");
        });
    }
}
