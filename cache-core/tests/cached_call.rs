//! What a cached call does, by its policy: over the memory store, once with shared objects and once with bytes, so that the
//! codecs are on the way.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    BuildError, Cache, Event, Key, ManualClock, MemoryStore, Policy, Store, Target,
    cache::Loaded,
    clock::Clock,
    store::{Acquired, Filled, HolderId, Lease, Outcome, Payload, Purpose, Read, StoreError},
};
use tokio::sync::oneshot;

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
        assert!(matches!(payload, Payload::Bytes(_)), "this store takes bytes");
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

/// A cache, its clock, and a loader that counts.
struct Bench {
    cache: Cache,
    clock: ManualClock,
    loads: AtomicU32,
    fails: AtomicBool,
    key: Key,
}

impl Bench {
    fn both() -> [Self; 2] {
        [true, false].map(|objects| {
            let clock = ManualClock::new();
            let memory = MemoryStore::with_clock(1 << 20, Clock::from(&clock));
            let store: Arc<dyn Store> = if objects { Arc::new(memory) } else { Arc::new(BytesOnly(memory)) };
            let cache = Cache::builder().store(store).clock(&clock).build().expect("the settings are sound");
            Self { cache, clock, loads: AtomicU32::new(0), fails: AtomicBool::new(false), key: Key::new("k").arg(&1) }
        })
    }

    /// Loads the number of the load.
    async fn call(&self, policy: &Policy) -> Result<u32, String> {
        let load = async || {
            if self.fails.load(Ordering::SeqCst) {
                return Err("the source is away".to_owned());
            }
            Ok(self.loads.fetch_add(1, Ordering::SeqCst) + 1)
        };
        self.cache.get_or_load(&self.key, policy, load).await
    }

    async fn optional(&self, policy: &Policy, value: Option<u32>, store: bool) -> Option<u32> {
        let load = async {
            self.loads.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Loaded { value: value.map(Arc::new), store })
        };
        let found = self.cache.fetch(&self.key, policy, load).await;
        found.unwrap_or_else(|never| match never {}).map(|value| *value)
    }
}

#[tokio::test]
async fn a_value_is_served_until_its_ttl_and_no_longer() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE).jitter(0.0);
        assert_eq!(bench.call(&policy).await, Ok(1));
        bench.clock.advance(Duration::from_millis(59_999));
        assert_eq!(bench.call(&policy).await, Ok(1));
        bench.clock.advance(Duration::from_millis(1));
        assert_eq!(bench.call(&policy).await, Ok(2));
    }
}

#[tokio::test]
async fn absence_has_its_own_ttl() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE).jitter(0.0).negative_ttl(Duration::from_secs(5));
        assert_eq!(bench.optional(&policy, None, true).await, None);
        assert_eq!(bench.optional(&policy, Some(3), true).await, None, "an absence is a hit too");
        bench.clock.advance(Duration::from_secs(5));
        assert_eq!(bench.optional(&policy, Some(3), true).await, Some(3));
        bench.clock.advance(Duration::from_secs(50));
        assert_eq!(bench.optional(&policy, None, true).await, Some(3));
        assert_eq!(bench.loads.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_call_that_wants_a_value_does_not_take_a_stored_absence() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        assert_eq!(bench.optional(&policy, None, true).await, None);
        assert_eq!(bench.call(&policy).await, Ok(2));
        assert_eq!(bench.call(&policy).await, Ok(2));
    }
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_returned_and_loaded_again() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        assert_eq!(bench.optional(&policy, Some(1), false).await, Some(1));
        assert_eq!(bench.optional(&policy, Some(2), true).await, Some(2));
        assert_eq!(bench.optional(&policy, Some(3), true).await, Some(2));
        let total = bench.cache.stats().total;
        assert_eq!((total.not_cached, total.fills, total.hits, total.misses), (1, 1, 1, 2));
    }
}

#[tokio::test]
async fn an_error_passes_through_and_is_not_stored() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        bench.fails.store(true, Ordering::SeqCst);
        assert_eq!(bench.call(&policy).await, Err("the source is away".to_owned()));
        bench.fails.store(false, Ordering::SeqCst);
        assert_eq!(bench.call(&policy).await, Ok(1));
        assert_eq!(bench.cache.stats().total.load_errors, 1);
    }
}

#[tokio::test]
async fn an_expired_value_serves_when_the_load_fails_within_its_window() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE).jitter(0.0).stale_if_error(10 * MINUTE);
        assert_eq!(bench.call(&policy).await, Ok(1));
        bench.clock.advance(MINUTE);
        bench.fails.store(true, Ordering::SeqCst);
        assert_eq!(bench.call(&policy).await, Ok(1));
        assert_eq!(bench.cache.stats().total.served_stale, 1);
        bench.fails.store(false, Ordering::SeqCst);
        assert_eq!(bench.call(&policy).await, Ok(2), "a load that succeeds replaces it");
        bench.clock.advance(11 * MINUTE);
        bench.fails.store(true, Ordering::SeqCst);
        assert!(bench.call(&policy).await.is_err(), "past its window it is gone");
    }
}

#[tokio::test]
async fn what_was_invalidated_never_serves_when_the_load_fails() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE).jitter(0.0).stale_if_error(10 * MINUTE);
        assert_eq!(bench.call(&policy).await, Ok(1));
        bench.clock.advance(MINUTE);
        bench.fails.store(true, Ordering::SeqCst);
        assert_eq!(bench.cache.invalidate([Key::new("k").into_node()]).await, Outcome::Applied);
        assert!(bench.call(&policy).await.is_err());
    }
}

#[tokio::test]
async fn an_expired_value_that_is_invalidated_while_the_load_fails_does_not_serve() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE).jitter(0.0).stale_if_error(10 * MINUTE);
        assert_eq!(bench.call(&policy).await, Ok(1));
        bench.clock.advance(MINUTE);
        let load = async || {
            let _ = bench.cache.invalidate([bench.key.clone().into_entry()]).await;
            Err::<u32, _>("the source is away".to_owned())
        };
        assert!(bench.cache.get_or_load(&bench.key, &policy, load).await.is_err());
    }
}

/// A load that tells when it has begun and ends when told to.
fn stopped(value: u32) -> (impl AsyncFnOnce() -> Result<u32, String>, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (enter, entered) = oneshot::channel();
    let (leave, left) = oneshot::channel();
    let load = async move || {
        enter.send(()).expect("the test waits");
        left.await.expect("the test answers");
        Ok(value)
    };
    (load, entered, leave)
}

#[tokio::test]
async fn an_early_refresh_is_one_callers_while_the_others_keep_the_value() {
    for bench in Bench::both() {
        // With this beta every call refreshes early.
        let policy = Policy::new(MINUTE).refresh_ahead(1e12);
        let slow = async || {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok::<u32, String>(1)
        };
        assert_eq!(bench.cache.get_or_load(&bench.key, &policy, slow).await, Ok(1));
        let (load, entered, leave) = stopped(2);
        let refresh = bench.cache.get_or_load(&bench.key, &policy, load);
        let others = async {
            entered.await.expect("one caller refreshes");
            for _ in 0..10 {
                let other = bench.cache.get_or_load(&bench.key, &policy, async || Ok::<u32, String>(99)).await;
                assert_eq!(other, Ok(1), "the others keep the current value");
            }
            leave.send(()).expect("the refresh waits");
        };
        assert_eq!(tokio::join!(refresh, others).0, Ok(2));
        let calm = Policy::new(MINUTE);
        assert_eq!(bench.cache.get_or_load(&bench.key, &calm, async || Ok::<u32, String>(99)).await, Ok(2));
        assert_eq!(bench.cache.stats().total.refreshed, 1);
    }
}

#[tokio::test]
async fn an_early_refresh_that_fails_or_is_overtaken_changes_nothing() {
    for bench in Bench::both() {
        let (policy, calm) = (Policy::new(MINUTE).refresh_ahead(1e12), Policy::new(MINUTE));
        let slow = async || {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok::<u32, String>(1)
        };
        assert_eq!(bench.cache.get_or_load(&bench.key, &policy, slow).await, Ok(1));
        let failed = bench.cache.get_or_load(&bench.key, &policy, async || Err::<u32, _>("away".to_owned())).await;
        assert_eq!(failed, Ok(1), "the current value is still good");

        let overtaken = async || {
            let _ = bench.cache.invalidate([bench.key.clone().into_entry()]).await;
            Ok::<u32, String>(2)
        };
        assert_eq!(bench.cache.get_or_load(&bench.key, &policy, overtaken).await, Ok(2));
        let after = bench.cache.get_or_load(&bench.key, &calm, async || Ok::<u32, String>(3)).await;
        assert_eq!(after, Ok(3), "a refresh that an invalidation overtook stores nothing");
    }
}

#[tokio::test]
async fn another_version_makes_old_entries_misses() {
    let [_, bench] = Bench::both();
    assert_eq!(bench.call(&Policy::new(MINUTE)).await, Ok(1));
    assert_eq!(bench.call(&Policy::new(MINUTE).version(2)).await, Ok(2));
    assert_eq!(bench.call(&Policy::new(MINUTE).version(2)).await, Ok(2));
    assert_eq!(bench.cache.stats().total.unreadable, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_a_cold_key_load_once() {
    for bench in Bench::both().map(Arc::new) {
        let callers: Vec<_> = (0..1000)
            .map(|_| {
                let bench = Arc::clone(&bench);
                tokio::spawn(async move {
                    let load = async || {
                        bench.loads.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        Ok::<_, String>(1_u32)
                    };
                    bench.cache.get_or_load(&bench.key, &Policy::new(MINUTE), load).await
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.expect("a caller ends"), Ok(1));
        }
        assert_eq!(bench.loads.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn cold_keys_do_not_wait_for_each_other() {
    let [bench, _] = Bench::both();
    let started = std::time::Instant::now();
    let callers: Vec<_> = (0..200_u32)
        .map(|id| {
            let cache = bench.cache.clone();
            tokio::spawn(async move {
                let load = async || {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok::<_, Infallible>(id)
                };
                cache.get_or_load(&Key::new("cold").arg(&id), &Policy::new(MINUTE), load).await
            })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.expect("a caller ends").is_ok());
    }
    assert!(started.elapsed() < Duration::from_secs(5), "one after the other would be 10 s");
}

/// Once the load timeout, not twice; and then they share one load.
#[tokio::test]
async fn a_hung_load_holds_the_others_up_for_the_load_timeout_only() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    for store in stores() {
        let cache = Cache::builder().store(store).load_timeout(TIMEOUT).build().expect("the settings are sound");
        let key = Key::new("hung");
        let hung = tokio::spawn({
            let (cache, key) = (cache.clone(), key.clone());
            async move {
                let load = async || std::future::pending::<Result<u32, Infallible>>().await;
                cache.get_or_load(&key, &Policy::new(MINUTE), load).await
            }
        });
        tokio::task::yield_now().await;
        let started = tokio::time::Instant::now();
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let (cache, key) = (cache.clone(), key.clone());
                tokio::spawn(async move {
                    let load = async || {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        Ok::<u32, Infallible>(1)
                    };
                    cache.get_or_load(&key, &Policy::new(MINUTE), load).await
                })
            })
            .collect();
        for caller in waiting {
            assert_eq!(caller.await.expect("no caller panics"), Ok(1));
        }
        let took = started.elapsed();
        assert!(took < TIMEOUT * 7 / 4, "{took:?}");
        assert_eq!(cache.stats().total.loads, 1, "one load for all who gave the hung one up");
        hung.abort();
    }
}

fn stores() -> [Arc<dyn Store>; 2] {
    [Arc::new(MemoryStore::new(1 << 20)), Arc::new(BytesOnly(MemoryStore::new(1 << 20)))]
}

/// It once lost its lease, so that its value was never stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_blocks_its_thread_is_stored() {
    for store in stores() {
        let cache = Cache::builder().store(store).build().expect("the settings are sound");
        for _ in 0..2 {
            let cache = cache.clone();
            // On a worker: what that one spawns, no other takes from it.
            let call = tokio::spawn(async move {
                let load = async || {
                    std::thread::sleep(Duration::from_millis(400));
                    Ok::<u32, Infallible>(1)
                };
                cache.get_or_load(&Key::new("blocking"), &Policy::new(MINUTE), load).await
            });
            assert_eq!(call.await.expect("it does not panic"), Ok(1));
        }
        assert_eq!((cache.stats().total.loads, cache.stats().total.refused), (1, 0));
    }
}

/// Neither a task that never runs nor a place without a runtime loses it.
#[test]
fn an_invalidation_in_memory_is_done_at_its_first_poll() {
    let cache = Cache::memory();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there are threads");
    let key = Key::new("k");
    let call =
        |value| runtime.block_on(cache.get_or_load(&key, &Policy::new(MINUTE), async move || Ok::<u32, ()>(value)));
    assert_eq!(call(1), Ok(1));
    let mut invalidation = std::pin::pin!(cache.invalidate([key.clone().into_entry()]));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(invalidation.as_mut().poll(&mut context), std::task::Poll::Ready(Outcome::Applied));
    assert_eq!(call(2), Ok(2));
}

/// A runtime that is gone cannot give a lease back in the background.
#[test]
fn a_load_that_ends_with_its_runtime_holds_nobody_up() {
    let cache = Cache::memory();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there are threads");
    let first = runtime();
    let started = std::time::Instant::now();
    first.block_on(async {
        let cache = cache.clone();
        tokio::spawn(async move {
            let load = async || std::future::pending::<Result<u32, Infallible>>().await;
            cache.get_or_load(&Key::new("k"), &Policy::new(MINUTE), load).await
        });
        tokio::task::yield_now().await;
    });
    drop(first);
    let load = async || Ok::<u32, Infallible>(1);
    assert_eq!(runtime().block_on(cache.get_or_load(&Key::new("k"), &Policy::new(MINUTE), load)), Ok(1));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn callers_that_expect_different_types_under_one_key_each_get_their_own() {
    for bench in Bench::both() {
        let policy = Policy::new(MINUTE);
        let (load, entered, leave) = stopped(1);
        let number = bench.cache.get_or_load(&bench.key, &policy, load);
        let text = async {
            entered.await.expect("it loads");
            let text = bench.cache.get_or_load(&bench.key, &policy, async || Ok::<_, String>("text".to_owned()));
            let leave = async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                leave.send(()).expect("it waits");
            };
            tokio::join!(text, leave).0
        };
        let (number, text) = tokio::join!(number, text);
        assert_eq!((number, text), (Ok(1), Ok("text".to_owned())));
    }
}

#[tokio::test]
async fn events_tell_what_happened_in_order() {
    for bench in Bench::both() {
        let mut events = bench.cache.events();
        let policy = Policy::new(MINUTE).jitter(0.0);
        assert_eq!(bench.call(&policy).await, Ok(1));
        assert_eq!(bench.call(&policy).await, Ok(1));
        let _ = bench.cache.invalidate([Key::new("k").into_node()]).await;
        let key = "k:1".to_owned();
        assert_eq!(events.next().await, Some(Event::Miss { key: key.clone() }));
        assert!(matches!(events.next().await, Some(Event::Loaded { ok: true, .. })));
        assert_eq!(events.next().await, Some(Event::Filled { key: key.clone(), ttl: MINUTE }));
        assert_eq!(events.next().await, Some(Event::Hit { key }));
        assert!(matches!(events.next().await, Some(Event::Invalidated { outcome: Outcome::Applied, .. })));
    }
}

#[tokio::test]
async fn settings_out_of_range_panic_in_no_call() {
    let store: Arc<dyn Store> = Arc::new(BytesOnly(MemoryStore::new(1 << 20)));
    let cache = Cache::builder().store(store).load_timeout(Duration::MAX).build().expect("long, but a timeout");
    let policy = Policy::new(Duration::MAX).stale_if_error(Duration::MAX).negative_ttl(Duration::MAX);
    for (row, number) in [f64::NAN, f64::INFINITY, -1.0, 2.0].into_iter().enumerate() {
        let policy = policy.jitter(number).refresh_ahead(number).verify(number);
        for _ in 0..3 {
            let key = Key::new("odd").arg(&(row as u64));
            let value = cache.get_or_load(&key, &policy, async || Ok::<_, Infallible>(7)).await;
            assert_eq!(value, Ok(7), "{number}");
        }
    }
}

#[tokio::test]
async fn a_journal_file_without_a_url_is_an_error() {
    let own = || Cache::builder().store(Arc::new(BytesOnly(MemoryStore::new(1 << 20))));
    for error in [
        Cache::builder().journal_file("journal").build().expect_err("memory has no journal"),
        Cache::builder().journal_file("journal").connect().await.expect_err("no URL"),
        own().journal_file("journal").build().expect_err("a store of one's own keeps its own"),
    ] {
        assert!(matches!(error, BuildError::Setting(_)), "{error:?}");
        assert!(error.to_string().contains("journal file"), "{error}");
    }
}
