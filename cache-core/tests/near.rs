//! Copies in the memory of each instance, in front of a store that they share: what each mode asks of the store, and that none
//! serves what was invalidated.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Cache, Key, L1, ManualClock, MemoryStore, Outcome, Policy, Store, Target,
    clock::Clock,
    store::{Acquired, Filled, HolderId, Lease, Nearby, Payload, Purpose, Read, StoreError, Stored},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A store of bytes that several instances share, with a feed. It counts what it is asked, and can be told to fall behind.
struct Shared {
    memory: MemoryStore,
    clock: Clock,
    members: Mutex<Vec<Arc<dyn Nearby>>>,
    /// Nobody is told anything any more, as if each member had been cut off.
    is_mute: AtomicBool,
    reads: AtomicU32,
    questions: AtomicU32,
}

/// One instance's way to it.
struct Way {
    shared: Arc<Shared>,
    /// Invalidations by other instances that come between the answer to a read and its arrival.
    before_arrival: Mutex<Option<Target>>,
}

impl Shared {
    fn new(clock: &ManualClock) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryStore::with_clock(64 << 20, clock.into()),
            clock: clock.into(),
            members: Mutex::default(),
            is_mute: AtomicBool::new(false),
            reads: AtomicU32::new(0),
            questions: AtomicU32::new(0),
        })
    }

    fn counts(&self) -> (u32, u32) {
        (self.reads.swap(0, SeqCst), self.questions.swap(0, SeqCst))
    }

    fn tell(&self, targets: &[Target]) {
        if !self.is_mute.load(SeqCst) {
            self.members.lock().unwrap().iter().for_each(|member| member.invalidate(targets));
        }
    }

    /// Every member may serve for a second from now on.
    fn renew(&self) {
        let until = self.clock.now() + Duration::from_secs(1);
        self.members.lock().unwrap().iter().for_each(|member| member.may_serve_until(until));
    }
}

#[async_trait]
impl Store for Way {
    fn name(&self) -> &'static str {
        "shared"
    }

    async fn read(&self, key: &Key) -> Result<Read, StoreError> {
        self.shared.reads.fetch_add(1, SeqCst);
        let read = self.shared.memory.read(key).await;
        let between = self.before_arrival.lock().unwrap().take();
        if let Some(target) = between {
            self.invalidate(&[target]).await?;
        }
        read
    }

    async fn still_holds(&self, key: &Key, known: &Stored) -> Result<bool, StoreError> {
        self.shared.questions.fetch_add(1, SeqCst);
        Ok(matches!(self.shared.memory.read(key).await?, Read::Hit(stored) if stored.id == known.id))
    }

    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError> {
        self.shared.memory.acquire(key, purpose, lasts).await
    }

    async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> Result<bool, StoreError> {
        self.shared.memory.renew(key, lease, lasts).await
    }

    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError> {
        self.shared.memory.fill(key, lease, payload, ttl).await
    }

    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError> {
        self.shared.memory.release(key, lease).await
    }

    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError> {
        let outcome = self.shared.memory.invalidate(targets).await;
        self.shared.tell(targets);
        outcome
    }

    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError> {
        let held = self.shared.memory.hold(targets, holder, lasts).await;
        self.shared.tell(targets);
        held
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError> {
        let outcome = self.shared.memory.release_hold(targets, holder).await;
        self.shared.tell(targets);
        outcome
    }

    fn feed(&self, nearby: Arc<dyn Nearby>) -> bool {
        self.shared.members.lock().unwrap().push(nearby);
        true
    }
}

/// Two instances over one store, and a source.
struct Bench {
    shared: Arc<Shared>,
    ways: [Arc<Way>; 2],
    caches: [Cache; 2],
    clock: ManualClock,
    source: AtomicU32,
    loads: AtomicU32,
}

impl Bench {
    fn new(mode: L1) -> Self {
        Self::with(mode, 1 << 20)
    }

    fn with(mode: L1, limit: usize) -> Self {
        let clock = ManualClock::new();
        let shared = Shared::new(&clock);
        let way = || Arc::new(Way { shared: Arc::clone(&shared), before_arrival: Mutex::default() });
        let ways = [way(), way()];
        let cache = |way: &Arc<Way>| {
            let store: Arc<dyn Store> = Arc::clone(way) as _;
            Cache::builder().store(store).clock(&clock).l1(mode).memory_limit(limit).build().unwrap()
        };
        let caches = [cache(&ways[0]), cache(&ways[1])];
        let bench = Self { shared, ways, caches, clock, source: AtomicU32::new(0), loads: AtomicU32::new(0) };
        bench.shared.counts();
        bench
    }

    async fn get(&self, instance: usize, key: &Key) -> u32 {
        self.get_by(instance, key, &Policy::new(MINUTE).jitter(0.0)).await
    }

    async fn get_by(&self, instance: usize, key: &Key, policy: &Policy) -> u32 {
        let load = async || {
            self.loads.fetch_add(1, SeqCst);
            Ok::<_, Infallible>(self.source.load(SeqCst))
        };
        self.caches[instance].get_or_load(key, policy, load).await.unwrap()
    }

    /// Writes, and has this instance invalidate.
    async fn write(&self, instance: usize, target: Target) -> u32 {
        let version = self.source.fetch_add(1, SeqCst) + 1;
        assert_eq!(self.caches[instance].invalidate([target]).await, Outcome::Applied);
        version
    }
}

fn key() -> Key {
    Key::new("page").arg(&7).arg(&1)
}

#[tokio::test]
async fn without_copies_each_hit_is_a_read() {
    let bench = Bench::new(L1::Off);
    for expected in [(1, 0), (1, 0), (1, 0)] {
        bench.get(0, &key()).await;
        assert_eq!(bench.shared.counts(), expected);
    }
    let stats = bench.caches[0].stats();
    assert_eq!((stats.total.hits, stats.total.l1_hits, stats.l1_entries), (2, 0, 0));
}

#[tokio::test]
async fn a_validated_copy_is_asked_for_each_time_and_read_once() {
    let bench = Bench::new(L1::Validated);
    bench.get(0, &key()).await;
    assert_eq!(bench.shared.counts(), (1, 0), "a miss");
    for _ in 0..3 {
        bench.get(0, &key()).await;
        assert_eq!(bench.shared.counts(), (0, 1), "the loaded value is kept");
    }
    bench.get(1, &key()).await;
    assert_eq!(bench.shared.counts(), (1, 0), "the other instance reads it");
    bench.get(1, &key()).await;
    assert_eq!(bench.shared.counts(), (0, 1), "and keeps it");
    let new = bench.write(0, key().into_entry()).await;
    assert_eq!((bench.get(1, &key()).await, bench.get(0, &key()).await), (new, new));
    assert_eq!(bench.loads.load(SeqCst), 2);
    let stats = bench.caches[0].stats();
    assert_eq!((stats.total.hits, stats.total.l1_hits, stats.l1_entries), (4, 3, 1));
    assert!(stats.l1_bytes > 0);
}

#[tokio::test]
async fn a_leased_copy_asks_nothing_while_the_lease_lasts() {
    let bench = Bench::new(L1::Leased);
    bench.get(0, &key()).await;
    bench.get(0, &key()).await;
    assert_eq!(bench.shared.counts(), (1, 1), "no lease yet: validated");
    for round in 0..3 {
        bench.shared.renew();
        for _ in 0..3 {
            bench.get(0, &key()).await;
        }
        assert_eq!(bench.shared.counts(), (0, 0), "round {round}");
        bench.clock.advance(Duration::from_secs(2));
        bench.get(0, &key()).await;
        assert_eq!(bench.shared.counts(), (0, 1), "the lease is over: validated");
    }
    assert_eq!(bench.caches[0].stats().total.l1_hits, 13);
}

#[tokio::test]
async fn whatever_another_instance_invalidates_a_leased_copy_is_gone_when_it_returns() {
    let tag = || cache_core::Tag::new("owner:").arg(&7);
    let key = || key().tag(tag());
    let targets = [
        key().into_entry(),
        key().into_node(),
        Key::new("page").arg(&7).into_node(),
        Target::Tag(tag()),
        Target::Glob("page:*".to_owned()),
        Target::All,
    ];
    let bench = Bench::new(L1::Leased);
    for target in targets {
        let old = bench.get(1, &key()).await;
        bench.shared.renew();
        bench.shared.counts();
        assert_eq!((bench.get(1, &key()).await, bench.shared.counts()), (old, (0, 0)));
        let new = bench.write(0, target.clone()).await;
        assert_eq!(bench.get(1, &key()).await, new, "{target}");
    }
}

#[tokio::test]
async fn a_lease_that_is_over_or_was_ended_serves_nothing_unseen() {
    let bench = Bench::new(L1::Leased);
    bench.get(1, &key()).await;
    bench.shared.renew();
    bench.shared.is_mute.store(true, SeqCst);
    bench.clock.advance(Duration::from_secs(2));
    let new = bench.write(0, key().into_entry()).await;
    assert_eq!(bench.get(1, &key()).await, new, "the lease has lapsed");
    bench.shared.renew();
    bench.get(1, &key()).await;
    bench.shared.counts();
    bench.shared.members.lock().unwrap().iter().for_each(|member| member.empty());
    assert_eq!((bench.get(1, &key()).await, bench.shared.counts()), (new, (1, 0)), "nothing was left to ask about");
}

/// The race that a copy must not lose: read, invalidated, and only then put in its place.
#[tokio::test]
async fn what_is_invalidated_between_the_read_and_its_arrival_is_not_kept() {
    for mode in [L1::Validated, L1::Leased, L1::For(MINUTE)] {
        let bench = Bench::new(mode);
        bench.get(0, &key()).await;
        if mode == L1::Leased {
            bench.get(1, &Key::new("joins")).await;
            bench.shared.renew();
        }
        // The other instance's read has its answer; what it is about is invalidated before that arrives.
        bench.source.store(1, SeqCst);
        *bench.ways[1].before_arrival.lock().unwrap() = Some(key().into_entry());
        let during = bench.get(1, &key()).await;
        assert!(during <= 1);
        match mode {
            // It hears of nothing: what it read itself is as old as the bound allows.
            L1::For(_) => assert_eq!(bench.get(1, &key()).await, during),
            _ => assert_eq!(bench.get(1, &key()).await, 1, "{mode:?}"),
        }
    }
}

#[tokio::test]
async fn a_bound_is_kept_and_ones_own_writes_are_seen_at_once() {
    let bench = Bench::new(L1::For(Duration::from_secs(5)));
    bench.get(0, &key()).await;
    bench.get(1, &key()).await;
    bench.shared.counts();
    bench.clock.advance(Duration::from_secs(4));
    bench.get(1, &key()).await;
    assert_eq!(bench.shared.counts(), (0, 0));
    let new = bench.write(0, key().into_entry()).await;
    assert_eq!(bench.get(0, &key()).await, new, "its own");
    assert!(bench.get(1, &key()).await < new, "the other one has some time left");
    bench.clock.advance(Duration::from_millis(1_001));
    assert_eq!(bench.get(1, &key()).await, new, "no longer");
}

#[tokio::test]
async fn a_copy_ends_with_its_value() {
    for mode in [L1::Validated, L1::Leased, L1::For(10 * MINUTE)] {
        let bench = Bench::new(mode);
        bench.get(0, &key()).await;
        // The copy of an instance that read it halfway ends with the value too.
        bench.clock.advance(MINUTE / 2);
        bench.get(1, &key()).await;
        bench.clock.advance(MINUTE / 2 + Duration::from_secs(1));
        bench.source.store(1, SeqCst);
        bench.shared.renew();
        assert_eq!((bench.get(1, &key()).await, bench.get(0, &key()).await), (1, 1), "{mode:?}");
    }
}

#[tokio::test]
async fn what_is_held_is_served_from_the_source_everywhere() {
    let bench = Bench::new(L1::Leased);
    for instance in [0, 1] {
        bench.get(instance, &key()).await;
    }
    bench.shared.renew();
    let held = bench.caches[0].hold([key().into_entry()], Duration::from_secs(10)).await.unwrap();
    for version in 1..3 {
        bench.source.store(version, SeqCst);
        assert_eq!((bench.get(0, &key()).await, bench.get(1, &key()).await), (version, version));
    }
    assert_eq!(held.release().await, Outcome::Applied);
    bench.source.store(3, SeqCst);
    assert_eq!((bench.get(0, &key()).await, bench.get(1, &key()).await), (3, 3));
}

#[tokio::test]
async fn a_function_may_say_otherwise_than_its_cache() {
    let bench = Bench::new(L1::Validated);
    let (off, long) = (Key::new("off"), Key::new("long"));
    let policy = |mode| Policy::new(MINUTE).jitter(0.0).l1(mode);
    for (key, mode, expected) in
        [(off, L1::Off, (1, 0)), (long, L1::For(MINUTE), (0, 0)), (key(), L1::Validated, (0, 1))]
    {
        bench.get_by(0, &key, &policy(mode)).await;
        bench.shared.counts();
        bench.get_by(0, &key, &policy(mode)).await;
        assert_eq!(bench.shared.counts(), expected, "{mode:?}");
    }
}

#[tokio::test]
async fn values_are_shared_and_of_one_type_and_version() {
    let bench = Bench::new(L1::For(MINUTE));
    let (cache, policy) = (&bench.caches[0], Policy::new(MINUTE));
    let load = |name: &'static str| async move || Ok::<_, Infallible>(Arc::new(name.to_owned()));
    let first = cache.get_or_load_shared(&key(), &policy, load("first")).await.unwrap();
    let second = cache.get_or_load_shared(&key(), &policy, load("second")).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second), "nothing was decoded or cloned");
    let number: u32 = cache.get_or_load(&key(), &policy, || async { Ok::<_, Infallible>(5) }).await.unwrap();
    assert_eq!(number, 5, "another type is a miss");
    let newer = cache.get_or_load(&key(), &policy.version(2), || async { Ok::<_, Infallible>(6_u32) }).await.unwrap();
    assert_eq!(newer, 6, "so is another version");
}

#[tokio::test]
async fn copies_keep_within_their_limit_and_batches_use_them() {
    let bench = Bench::with(L1::Validated, 64 << 10);
    for number in 0..2_000 {
        bench.get(0, &Key::new("many").arg(&number)).await;
    }
    let stats = bench.caches[0].stats();
    assert!(stats.l1_bytes <= 32 << 10 && stats.l1_evictions > 0, "{} bytes", stats.l1_bytes);
    let keys: Vec<_> = (0..20).map(|number| Key::new("few").arg(&number)).collect();
    let policy = Policy::new(MINUTE);
    for expected in [(20, 0), (0, 20)] {
        bench.shared.counts();
        let load = |missing: Vec<usize>| async move {
            Ok::<_, Infallible>(missing.into_iter().map(|place| Some(u32::try_from(place).unwrap())).collect())
        };
        let values = bench.caches[1].get_or_load_many(&keys, &policy, load).await.unwrap();
        assert_eq!(values, (0..20).map(Some).collect::<Vec<_>>());
        assert_eq!(bench.shared.counts(), expected);
    }
}

#[cfg(feature = "conformance")]
#[tokio::test]
async fn the_shared_store_of_these_tests_is_a_store() {
    let time = ManualClock::new();
    let ways = time.clone();
    cache_core::conformance::Subject::new(move || {
        let way = Way { shared: Shared::new(&ways), before_arrival: Mutex::default() };
        async move { Arc::new(way) as Arc<dyn Store> }
    })
    .passing_time(move |span| {
        time.advance(span);
        async {}
    })
    .run()
    .await;
}

#[cfg(feature = "__mutants")]
#[test]
fn copies_that_are_kept_or_served_too_long_would_be_noticed() {
    use cache_core::mutant::{Mutant, choose};
    let tests: [(Mutant, fn()); 2] = [
        (Mutant::CopiesWithoutTicket, what_is_invalidated_between_the_read_and_its_arrival_is_not_kept),
        (Mutant::ServesBeyondLease, a_lease_that_is_over_or_was_ended_serves_nothing_unseen),
    ];
    for (mutant, test) in tests {
        choose(Some(mutant));
        let outcome = std::panic::catch_unwind(test);
        choose(None);
        assert!(outcome.is_err(), "{mutant:?} has not been noticed");
    }
}
