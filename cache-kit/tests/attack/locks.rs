//! Locks.

use std::{sync::Arc, time::Duration};

use cache_kit::{Guard, Kit, LockError, Scope};
use test_support::RedisServer;
use tokio::time::{Instant, sleep};

use crate::{Instance, LONG, PATIENCE, in_memory};

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_never_has_two_holders() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let locks = one.kit.locks("slot").lasts(Duration::from_secs(20));
    let guard = locks.try_acquire(&1).await.unwrap();
    server.kill();
    one.waits(false).await;
    let second = locks.try_acquire(&1).await;
    assert!(!guard.is_lost(), "it has its lease");
    assert!(matches!(second, Err(LockError::Taken)), "{second:?}");
}

/// Nor when Redis comes back while a lock of the outage is held.
#[tokio::test(flavor = "multi_thread")]
async fn one_instance_never_has_two_holders_after_an_outage() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let locks = one.kit.locks("slot").lasts(Duration::from_secs(20));
    server.kill();
    one.waits(false).await;
    let guard = locks.try_acquire(&1).await.unwrap();
    assert_eq!(guard.scope(), Scope::ThisInstance);
    server.restart();
    one.waits(true).await;
    let second = locks.try_acquire(&1).await;
    assert!(!guard.is_lost());
    assert!(matches!(second, Err(LockError::Taken)), "{second:?}");
    guard.release().await;
    assert!(locks.acquire(&1, Duration::from_secs(3)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_or_holds_without_end_does_no_harm() {
    let kit = in_memory();
    let guard = kit.locks("slot").acquire(&1, Duration::MAX).await.unwrap();
    drop(guard);
    let guard = kit.locks("slot").lasts(Duration::MAX).acquire(&2, Duration::from_secs(1)).await.unwrap();
    assert!(!guard.is_lost());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_taken_away_is_not_said_to_have_been_held() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let guard = one.kit.locks("slot").lasts(Duration::from_secs(30)).try_acquire(&1).await.unwrap();
    server.cli(&["FLUSHALL"]);
    assert!(!guard.release().await, "somebody else may have had it meanwhile");
}

/// Cancelled waiters leave no place in the queue behind, and nobody gets ahead of those who waited.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_waiters_leave_nothing_behind() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let locks = one.kit.locks("slot").lasts(Duration::from_secs(20));
    for round in 0..50_u64 {
        let guard = locks.try_acquire(&1).await.unwrap();
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                tokio::spawn({
                    let locks = locks.clone();
                    async move { drop(locks.acquire(&1, LONG).await) }
                })
            })
            .collect();
        sleep(Duration::from_micros(fastrand::u64(0..3_000))).await;
        for waiter in waiters {
            waiter.abort();
            drop(waiter.await);
        }
        guard.release().await;
        let began = Instant::now();
        let again = locks.acquire(&1, Duration::from_secs(10)).await.expect("nobody has it");
        assert!(began.elapsed() < Duration::from_secs(1), "round {round}: a ghost for {:?}", began.elapsed());
        again.release().await;
    }
    sleep(Duration::from_millis(100)).await;
    let keys = server.cli(&["KEYS", "kit#lock:slot:1*"]);
    assert_eq!(keys.lines().filter(|line| line.starts_with("kit#")).collect::<Vec<_>>(), ["kit#lock:slot:1:fence"]);
}

/// Fences of an outage go by this instance's clock. Those after it are above them all the same, also if that clock was ahead.
#[tokio::test(flavor = "multi_thread")]
async fn fences_go_up_around_an_outage_whatever_the_clock() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let ahead = std::time::SystemTime::now() + Duration::from_secs(60);
    let clock = cache_core::ManualClock::starting_at(std::time::Instant::now(), ahead);
    let kit = Kit::with_clock(&one.cache, cache_core::Clock::from(&clock));
    let locks = kit.locks("slot").lasts(Duration::from_secs(2));
    let mut fences = vec![locks.try_acquire(&1).await.unwrap().fence()];
    sleep(Duration::from_millis(100)).await;
    server.kill();
    one.waits(false).await;
    let guard = locks.acquire(&1, PATIENCE).await.unwrap();
    fences.push(guard.fence());
    guard.release().await;
    server.restart();
    one.waits(true).await;
    let guard = locks.acquire(&1, PATIENCE).await.unwrap();
    assert_eq!(guard.scope(), Scope::Everywhere);
    fences.push(guard.fence());
    guard.release().await;
    let other = Instance::on(&server.url()).await;
    fences.push(other.kit.locks("slot").acquire(&1, PATIENCE).await.unwrap().fence());
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
}

/// Whatever breaks: one holder at a time in an instance, with a fence above the last one, and who is granted a lock for all has it alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_breaks_one_holds_it_with_the_highest_fence() {
    let options = test_support::Options { appendonly: true, ..test_support::Options::default() };
    let mut server = RedisServer::own_with(options).expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let both = [url, server.url()];
    let (mut random, mut workers) = (fastrand::Rng::with_seed(5), Vec::new());
    let until = Instant::now() + Duration::from_secs(16);
    // Who holds it, in which instance.
    let held = Arc::new(std::sync::Mutex::new(Vec::<(usize, Arc<Guard>)>::new()));
    let counts = Arc::new(std::sync::Mutex::new([[0_u32; 2]; 2]));
    let mut instances = Vec::new();
    for (who, url) in both.iter().enumerate() {
        let one = Instance::with_timeout(url, Duration::from_millis(300)).await;
        let last = Arc::new(std::sync::Mutex::new(0));
        for _ in 0..3 {
            let (held, last, counts, mut random) =
                (Arc::clone(&held), Arc::clone(&last), Arc::clone(&counts), random.fork());
            let locks = one.kit.locks("slot").lasts(Duration::from_secs(1));
            workers.push(tokio::spawn(async move {
                while Instant::now() < until {
                    let Ok(guard) = locks.acquire(&1, Duration::from_millis(400)).await else { continue };
                    let guard = Arc::new(guard);
                    {
                        let mut held = held.lock().unwrap();
                        for (other, theirs) in held.iter().filter(|(_, theirs)| !theirs.is_lost()) {
                            let is_for_all = [&guard, theirs].iter().all(|guard| guard.scope() == Scope::Everywhere);
                            assert!(*other != who && !is_for_all, "two hold it: {guard:?} {theirs:?}");
                        }
                        held.push((who, Arc::clone(&guard)));
                        let mut last = last.lock().unwrap();
                        assert!(guard.fence() > *last, "{} after {last}", guard.fence());
                        *last = guard.fence();
                    }
                    counts.lock().unwrap()[who][usize::from(guard.scope() == Scope::Everywhere)] += 1;
                    sleep(Duration::from_millis(random.u64(0..30))).await;
                    held.lock().unwrap().retain(|(_, theirs)| !Arc::ptr_eq(theirs, &guard));
                    if let Ok(guard) = Arc::try_unwrap(guard) {
                        guard.release().await;
                    }
                }
            }));
        }
        instances.push(one);
    }
    while Instant::now() < until {
        sleep(Duration::from_millis(random.u64(100..700))).await;
        let lasts = Duration::from_millis(random.u64(50..1_800));
        match random.u8(0..4) {
            0 => {
                server.stop();
                sleep(lasts).await;
                server.cont();
            }
            1 => {
                server.kill();
                sleep(lasts).await;
                server.restart();
            }
            _ => {
                proxy.freeze();
                if random.bool() {
                    proxy.cut();
                }
                sleep(lasts).await;
                proxy.resume();
            }
        }
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let counts = counts.lock().unwrap();
    assert!(counts.iter().flatten().all(|count| *count > 0), "{counts:?}");
}
