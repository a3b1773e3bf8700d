//! What a batch does, by its policy: over the memory store, once with shared objects and once with bytes.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Cache, Key, ManualClock, MemoryStore, Policy, Store, Target,
    clock::Clock,
    store::{Acquired, Filled, HolderId, Lease, Outcome, Payload, Purpose, Read, StoreError},
    transaction,
};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// The memory store as one that takes only bytes.
struct BytesOnly(MemoryStore);

#[async_trait]
impl Store for BytesOnly {
    fn name(&self) -> &'static str {
        "bytes"
    }

    async fn read(&self, key: &Key) -> Result<Read, StoreError> {
        self.0.read(key).await
    }

    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError> {
        self.0.acquire(key, purpose, lasts).await
    }

    async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> Result<bool, StoreError> {
        self.0.renew(key, lease, lasts).await
    }

    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError> {
        self.0.fill(key, lease, payload, ttl).await
    }

    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError> {
        self.0.release(key, lease).await
    }

    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError> {
        self.0.invalidate(targets).await
    }

    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError> {
        self.0.hold(targets, holder, lasts).await
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError> {
        self.0.release_hold(targets, holder).await
    }
}

/// A cache, its clock, and a source of squares that notes what it was asked.
struct Bench {
    cache: Cache,
    clock: ManualClock,
    asked: Mutex<Vec<Vec<u32>>>,
    /// Added to each square.
    version: Mutex<u32>,
    fails: AtomicBool,
}

fn key(number: u32) -> Key {
    Key::new("square").arg(&number)
}

impl Bench {
    fn both() -> [Self; 2] {
        [true, false].map(|objects| {
            let clock = ManualClock::new();
            let memory = MemoryStore::with_clock(1 << 20, Clock::from(&clock));
            let store: Arc<dyn Store> = if objects { Arc::new(memory) } else { Arc::new(BytesOnly(memory)) };
            let cache = Cache::builder().store(store).clock(&clock).build().expect("the settings are sound");
            Self { cache, clock, asked: Mutex::default(), version: Mutex::default(), fails: AtomicBool::new(false) }
        })
    }

    /// The squares of these, as far as there are: of even numbers there are none.
    async fn squares(&self, numbers: &[u32], policy: &Policy) -> Result<Vec<Option<u32>>, String> {
        let keys: Vec<Key> = numbers.iter().map(|number| key(*number)).collect();
        let load = |missing: Vec<usize>| {
            let asked: Vec<u32> = missing.into_iter().map(|at| numbers[at]).collect();
            self.asked.lock().expect("no panic").push(asked.clone());
            async move {
                tokio::task::yield_now().await;
                if self.fails.load(Ordering::SeqCst) {
                    return Err("the source is away".to_owned());
                }
                let version = *self.version.lock().expect("no panic");
                Ok(asked.into_iter().map(|n| (n % 2 == 1).then_some(n * n + version)).collect())
            }
        };
        self.cache.get_or_load_many(&keys, policy, load).await
    }

    /// What the source was asked since the last time.
    fn asked(&self) -> Vec<Vec<u32>> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

#[tokio::test]
async fn only_what_is_missing_is_loaded_each_once_and_in_order() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        assert_eq!(bench.squares(&[3, 5], &policy).await, Ok(vec![Some(9), Some(25)]));
        assert_eq!(bench.asked(), [[3, 5]]);
        let answer = bench.squares(&[7, 5, 9, 7, 3, 7], &policy).await;
        assert_eq!(answer, Ok(vec![Some(49), Some(25), Some(81), Some(49), Some(9), Some(49)]));
        assert_eq!(bench.asked(), [[7, 9]]);
        assert_eq!(bench.squares(&[9, 7, 5, 3], &policy).await, Ok(vec![Some(81), Some(49), Some(25), Some(9)]));
        assert_eq!(bench.squares(&[], &policy).await, Ok(vec![]));
        assert_eq!(bench.asked(), [[0; 0]; 0], "all are hits, or there is nothing to ask for");
        let stats = bench.cache.stats().total;
        assert_eq!((stats.hits, stats.misses, stats.loads, stats.fills), (6, 4, 4, 4));
    }
}

#[tokio::test]
async fn absence_is_kept_for_its_own_ttl() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE).jitter(0.0).negative_ttl(Duration::from_secs(5));
        assert_eq!(bench.squares(&[2, 3], &policy).await, Ok(vec![None, Some(9)]));
        assert_eq!(bench.squares(&[2, 3], &policy).await, Ok(vec![None, Some(9)]));
        assert_eq!(bench.asked(), [[2, 3]]);
        bench.clock.advance(Duration::from_secs(5));
        assert_eq!(bench.squares(&[2, 3], &policy).await, Ok(vec![None, Some(9)]));
        assert_eq!(bench.asked(), [[2]]);
    }
}

#[tokio::test]
async fn a_failed_load_stores_nothing_and_is_the_callers_error() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]));
        bench.fails.store(true, Ordering::SeqCst);
        assert_eq!(bench.squares(&[3, 5, 7], &policy).await, Err("the source is away".to_owned()));
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]), "a hit needs no source");
        bench.fails.store(false, Ordering::SeqCst);
        assert_eq!(bench.squares(&[3, 5, 7], &policy).await, Ok(vec![Some(9), Some(25), Some(49)]));
        assert_eq!(bench.asked(), [vec![3], vec![5, 7], vec![5, 7]], "the leases were given back");
    }
}

#[tokio::test]
async fn expired_values_serve_when_all_that_is_asked_for_has_one() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE).jitter(0.0).stale_if_error(MINUTE);
        assert_eq!(bench.squares(&[3, 5], &policy).await, Ok(vec![Some(9), Some(25)]));
        bench.clock.advance(MINUTE);
        *bench.version.lock().expect("no panic") = 1;
        bench.fails.store(true, Ordering::SeqCst);
        assert_eq!(bench.squares(&[3, 5], &policy).await, Ok(vec![Some(9), Some(25)]), "both have expired, and serve");
        assert!(bench.squares(&[3, 5, 7], &policy).await.is_err(), "there is nothing to serve for 7");
        assert_eq!(bench.cache.invalidate([key(5).into_entry()]).await, Outcome::Applied);
        assert!(bench.squares(&[3, 5], &policy).await.is_err(), "what was invalidated does not serve");
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]));
        bench.fails.store(false, Ordering::SeqCst);
        assert_eq!(bench.squares(&[3, 5], &policy).await, Ok(vec![Some(10), Some(26)]));
    }
}

#[tokio::test]
async fn an_early_refresh_loads_along_and_serves_the_current_value_if_that_fails() {
    for bench in Bench::both() {
        // So eager that each hit is refreshed.
        let policy = Policy::new(MINUTE).refresh_ahead(f64::INFINITY);
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]));
        *bench.version.lock().expect("no panic") = 1;
        bench.fails.store(true, Ordering::SeqCst);
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]));
        bench.fails.store(false, Ordering::SeqCst);
        assert_eq!(bench.squares(&[5, 3], &policy).await, Ok(vec![Some(26), Some(10)]));
        assert_eq!(bench.asked().last(), Some(&vec![5, 3]));
    }
}

#[tokio::test]
async fn hits_are_verified_in_the_same_load() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        let verifying = policy.verify(1.0);
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]));
        *bench.version.lock().expect("no panic") = 1;
        assert_eq!(bench.squares(&[5, 3], &verifying).await, Ok(vec![Some(26), Some(10)]), "the source's answers");
        assert_eq!(bench.asked(), [vec![3], vec![5, 3]]);
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]), "a verified hit is not replaced");
        bench.fails.store(true, Ordering::SeqCst);
        assert_eq!(bench.squares(&[3, 5], &verifying).await, Ok(vec![Some(9), Some(26)]), "the hits, without a source");
        let stats = bench.cache.stats().total;
        assert_eq!((stats.verified, stats.loads), (1, 2));
    }
}

#[tokio::test]
async fn inside_a_transaction_the_source_is_asked_and_nothing_is_stored() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]));
        *bench.version.lock().expect("no panic") = 1;
        let inside = transaction(bench.squares(&[5, 3, 5], &policy)).await;
        assert_eq!(inside, Ok(vec![Some(26), Some(10), Some(26)]));
        assert_eq!(bench.squares(&[3, 5], &policy).await, Ok(vec![Some(9), Some(26)]));
        assert_eq!(bench.asked(), [vec![3], vec![5, 3], vec![5]]);
        assert_eq!(bench.cache.stats().total.bypassed, 2);
    }
}

#[tokio::test]
async fn what_is_held_is_loaded_and_not_stored() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        let hold = bench.cache.hold([key(3).into_entry()], MINUTE).await.expect("memory holds");
        assert_eq!(bench.squares(&[3, 5], &policy).await, Ok(vec![Some(9), Some(25)]));
        assert_eq!(bench.squares(&[3, 5], &policy).await, Ok(vec![Some(9), Some(25)]));
        assert_eq!(bench.asked(), [vec![3, 5], vec![3]]);
        assert_eq!(hold.release().await, Outcome::Applied);
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]));
        assert_eq!(bench.squares(&[3], &policy).await, Ok(vec![Some(9)]));
        assert_eq!(bench.asked(), [[3]]);
    }
}

#[tokio::test]
async fn a_load_that_answers_for_another_number_of_ids_serves_nothing_wrong() {
    for bench in Bench::both() {
        let keys = [key(3), key(5)];
        let policy = Policy::new(MINUTE);
        for answer in [vec![], vec![Some(25)], vec![Some(9), Some(25), Some(49)]] {
            let load = |_| async { Ok::<_, Infallible>(answer.clone()) };
            let answer: Vec<Option<u32>> = bench.cache.get_or_load_many(&keys, &policy, load).await.unwrap();
            assert_eq!(answer, [None, None]);
        }
        assert_eq!(bench.squares(&[3, 5], &policy).await, Ok(vec![Some(9), Some(25)]), "nothing was stored");
    }
}

/// Notes until when each lease lasts, and complains about one that is late or looks as if its process had died.
struct Watched {
    store: MemoryStore,
    lasting: Mutex<HashMap<String, Instant>>,
    renewals: AtomicUsize,
}

impl Watched {
    /// A call takes its time. Until when the lease of this key lasted when it began.
    async fn call(&self, key: &Key) -> Option<Instant> {
        let lasted = self.lasting.lock().expect("no panic").get(key.as_str()).copied();
        tokio::time::sleep(Duration::from_millis(1)).await;
        lasted
    }

    fn lasts(&self, key: &Key, lasts: Duration) {
        self.lasting.lock().expect("no panic").insert(key.as_str().to_owned(), Instant::now() + lasts);
    }
}

#[async_trait]
impl Store for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    async fn read(&self, key: &Key) -> Result<Read, StoreError> {
        self.call(key).await;
        self.store.read(key).await
    }

    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError> {
        self.call(key).await;
        self.lasts(key, lasts);
        self.store.acquire(key, purpose, lasts).await
    }

    async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> Result<bool, StoreError> {
        let left = self.call(key).await.expect("it was granted").duration_since(Instant::now());
        assert!(!left.is_zero(), "{key} had lapsed");
        let first = Duration::from_millis(150);
        assert!(left <= first || left >= Duration::from_millis(850), "{key} had {left:?} left: it looked forsaken");
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.lasts(key, lasts);
        self.store.renew(key, lease, lasts).await
    }

    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError> {
        let left = self.call(key).await.expect("it was granted").duration_since(Instant::now());
        assert!(!left.is_zero(), "{key} had lapsed");
        self.store.fill(key, lease, payload, ttl).await
    }

    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError> {
        self.store.release(key, lease).await
    }

    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError> {
        self.store.invalidate(targets).await
    }

    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError> {
        self.store.hold(targets, holder, lasts).await
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError> {
        self.store.release_hold(targets, holder).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_a_batch_of_any_size_last_as_long_as_its_load() {
    for size in [1_u32, 100, 500, 501, 2_000, 10_000] {
        let clock = ManualClock::new();
        let store = MemoryStore::with_clock(64 << 20, Clock::from(&clock));
        let watched = Arc::new(Watched { store, lasting: Mutex::default(), renewals: AtomicUsize::new(0) });
        let cache = Cache::builder().store(watched.clone()).clock(&clock).build().expect("the settings are sound");
        let keys: Vec<Key> = (0..size).map(key).collect();
        let load = |missing: Vec<usize>| async move {
            tokio::time::sleep(Duration::from_secs(8)).await;
            Ok::<_, Infallible>(missing.into_iter().map(|_| Some(1_u8)).collect())
        };
        let answer = cache.get_or_load_many(&keys, &Policy::new(MINUTE), load).await.expect("it never fails");
        assert_eq!(answer.len(), keys.len());
        let stats = cache.stats().total;
        assert_eq!((stats.fills, stats.refused, stats.store_errors), (size.into(), 0, 0));
        // Not so often that it costs the store much.
        let renewals = watched.renewals.load(Ordering::SeqCst);
        assert!(renewals >= keys.len() && renewals <= 100_000, "{size}: {renewals}");
    }
}

#[tokio::test]
async fn a_batch_and_single_calls_share_entries_and_loads() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        let single = |number: u32| {
            let cache = bench.cache.clone();
            async move {
                let load = async || {
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(number * number)
                };
                cache.get_or_load(&key(number), &policy, load).await.unwrap()
            }
        };
        assert_eq!(single(3).await, 9);
        assert_eq!(bench.squares(&[3, 5], &policy).await, Ok(vec![Some(9), Some(25)]));
        assert_eq!(single(5).await, 25);
        assert_eq!(bench.asked(), [[5]]);
        // Side by side: who comes first loads for the other.
        let (batch, one, other) = tokio::join!(bench.squares(&[7, 9, 11], &policy), single(9), single(13));
        assert_eq!((batch, one, other), (Ok(vec![Some(49), Some(81), Some(121)]), 81, 169));
        let (one, batch) = tokio::join!(single(15), bench.squares(&[15, 17], &policy));
        assert_eq!((one, batch), (225, Ok(vec![Some(225), Some(289)])));
        assert_eq!(bench.asked(), [vec![7, 9, 11], vec![17]]);
        assert_eq!(bench.cache.stats().total.joined, 2);
    }
}
