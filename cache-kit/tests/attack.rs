//! What broke, and must not again.

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, Health, Store};
use cache_kit::{Heard, Kit, LockError, Owned, Places, Quota, Schedule, Scope, StateError, States, Topic};
use cache_redis::{RedisConfig, RedisStore};
use test_support::RedisServer;
use tokio::time::{Instant, sleep, timeout};

const LONG: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(30);

struct Instance {
    kit: Kit,
    cache: Cache,
}

impl Instance {
    async fn on(url: &str) -> Self {
        let config = RedisConfig::new(url).namespace("kit").require();
        let config = config.call_timeout(Duration::from_secs(1)).connect_timeout(Duration::from_secs(3));
        let store: Arc<dyn Store> = Arc::new(RedisStore::connect(config).await.expect("Redis is there"));
        let cache = Cache::builder().store(store).build().expect("it is complete");
        Self { kit: Kit::of(&cache), cache }
    }

    async fn waits(&self, is_up: bool) {
        let began = Instant::now();
        while (self.cache.health() == Health::Connected) != is_up {
            assert!(began.elapsed() < PATIENCE, "waited in vain for Redis to be {}", if is_up { "up" } else { "down" });
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

async fn until_none_waits<K: cache_kit::StateKey>(states: &States<K, String>) {
    let began = Instant::now();
    while states.waiting() > 0 {
        assert!(began.elapsed() < PATIENCE, "{} writings wait in vain", states.waiting());
        sleep(Duration::from_millis(10)).await;
    }
}

fn in_memory() -> Kit {
    Kit::of(&Cache::memory())
}

// States.

/// Nobody writes during the outage, so what was written then is written back, whatever this instance had last seen before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_of_an_outage_gives_way_only_to_writings_of_the_outage() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("draft").ttl(LONG).build::<u64, String>());
    here.put(&1, &text("first")).await.unwrap();
    there.put(&1, &text("second")).await.unwrap();
    there.put(&2, &text("never seen here")).await.unwrap();
    for states in [&here, &there] {
        states.put(&3, &text("to be removed before")).await.unwrap();
        states.put(&4, &text("to be removed meanwhile")).await.unwrap();
    }
    assert!(there.take(&3).await.unwrap().is_some());
    // Contact after the other's writings.
    sleep(Duration::from_millis(50)).await;
    here.put(&9, &text("contact")).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    assert!(there.take(&4).await.unwrap().is_some());
    for key in 1..=4 {
        assert_eq!(here.put(&key, &text("third")).await.unwrap(), Scope::ThisInstance);
    }
    proxy.resume();
    one.waits(true).await;
    until_none_waits(&here).await;
    assert_eq!(there.get(&2).await.unwrap().as_deref(), Some("third"), "never seen here before");
    assert_eq!(there.get(&1).await.unwrap().as_deref(), Some("third"), "seen here in an older state");
    assert_eq!(there.get(&3).await.unwrap().as_deref(), Some("third"), "removed before");
    assert_eq!(there.get(&4).await.unwrap(), None, "removed meanwhile");
}

/// The same for a handle that had no contact of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_by_states_without_contact_of_their_own_is_written_back() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("draft").ttl(LONG).build::<u64, String>());
    there.put(&1, &text("long before")).await.unwrap();
    // Heartbeats go on, nobody uses `here`.
    sleep(Duration::from_millis(1500)).await;
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    assert_eq!(here.put(&1, &text("meanwhile")).await.unwrap(), Scope::ThisInstance);
    proxy.resume();
    one.waits(true).await;
    until_none_waits(&here).await;
    assert_eq!(there.get(&1).await.unwrap().as_deref(), Some("meanwhile"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_used_in_an_outage_lives_on() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let one = Instance::on(&url).await;
    let sessions = one.kit.states("session").ttl(Duration::from_secs(4)).sliding().build::<u64, String>();
    for session in [1, 2] {
        sessions.put(&session, &text("ada")).await.unwrap();
    }
    let other = Instance::on(&server.url()).await;
    let there = other.kit.states("session").ttl(Duration::from_secs(4)).sliding().build::<u64, String>();
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        for session in [1, 2] {
            assert_eq!(sessions.get(&session).await.unwrap().as_deref(), Some("ada"));
        }
        if began.elapsed() > Duration::from_secs(1) {
            there.take(&2).await.unwrap();
        }
        sleep(Duration::from_millis(100)).await;
    }
    proxy.resume();
    one.waits(true).await;
    assert_eq!(sessions.get(&1).await.unwrap().as_deref(), Some("ada"), "it was read all the time");
    assert_eq!(sessions.get(&2).await.unwrap(), None, "it was ended elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_none_and_can_be_replaced() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let states = one.kit.states("draft").ttl(LONG).build::<u64, String>();
    let strict = one.kit.states("draft").ttl(LONG).unreadable_is_an_error().build::<u64, String>();
    for damage in ["", "R", "garbage", &format!("R{}", "z".repeat(100)), &"X".repeat(100)] {
        states.put(&1, &text("before")).await.unwrap();
        server.cli(&["SET", "kit#state:draft:1", damage, "PX", "100000"]);
        assert_eq!(states.get(&1).await.unwrap(), None, "{damage}");
        drop(strict.get(&1).await);
        assert_eq!(states.take(&1).await.unwrap(), None, "{damage}");
        server.cli(&["SET", "kit#state:draft:1", damage, "PX", "100000"]);
        let new = states.update(&1, |old| old.or(Some(text("new")))).await.unwrap();
        assert_eq!(new.as_deref(), Some("new"), "{damage}");
        assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("new"), "{damage}");
    }
    assert!(matches!(states.get(&99).await, Ok(None)));
    server.cli(&["SET", "kit#state:draft:7", &format!("R{}", "z".repeat(100)), "PX", "100000"]);
    assert!(matches!(strict.get(&7).await, Err(StateError::Unreadable(_)) | Ok(None)), "{:?}", strict.get(&7).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_without_end_do_no_harm() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let one = Instance::on(&url).await;
    for kit in [&one.kit, &in_memory()] {
        let states = kit.states("endless").ttl(Duration::MAX).sliding().build::<u64, String>();
        states.put(&1, &text("a")).await.unwrap();
        assert!(states.touch(&1).await.unwrap());
        assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("a"));
        let codes = kit.codes("endless").ttl(Duration::MAX);
        let code = codes.issue("ada").await.unwrap();
        assert_eq!(codes.verify("ada", &code).await.unwrap(), cache_kit::Verdict::Accepted);
        let none = kit.states("endless").ttl(Duration::ZERO).build::<u64, String>();
        none.put(&2, &text("a")).await.unwrap();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(none.get(&2).await.unwrap(), None);
    }
    let states = one.kit.states("endless").ttl(Duration::MAX).sliding().build::<u64, String>();
    assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("a"));
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("a"));
    assert_eq!(states.put(&1, &text("b")).await.unwrap(), Scope::ThisInstance);
    assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("b"));
}

/// What is put while others list is listed from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_does_not_lose_what_is_put_meanwhile() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("task").ttl(LONG).build::<Owned<u64, u64>, String>());
    for round in 0..300 {
        let lists = (0..4).map(|_| {
            tokio::spawn({
                let there = there.clone();
                async move {
                    for _ in 0..3 {
                        there.list(&1).await.unwrap();
                    }
                }
            })
        });
        let lists: Vec<_> = lists.collect();
        let key = Owned { owner: 1, id: 7 };
        for _ in 0..3 {
            here.take(&key).await.unwrap();
            here.put(&key, &text("task")).await.unwrap();
        }
        for list in lists {
            list.await.unwrap();
        }
        assert_eq!(here.list(&1).await.unwrap(), [(7, text("task"))], "after {round} rounds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ids_are_listed() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    for kit in [&one.kit, &in_memory()] {
        let tasks = kit.states("task").ttl(LONG).build::<Owned<String, String>, String>();
        let ids = [":", "{a}", "#", "*", "", "~", "''", "!", "(a,b)", "ä€😀", "a b\n\0"];
        for id in ids {
            tasks.put(&Owned { owner: text("o:#{}"), id: text(id) }, &text(id)).await.unwrap();
        }
        let listed: Vec<_> = tasks.list(&text("o:#{}")).await.unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(listed, ids);
    }
}

/// Who reads ids as another type does not take them from the others' list.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_leaves_ids_alone_that_it_cannot_read() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let tasks = one.kit.states("task").ttl(LONG).build::<Owned<u64, String>, String>();
    let numbers = one.kit.states("task").ttl(LONG).build::<Owned<u64, u64>, String>();
    tasks.put(&Owned { owner: 1, id: text("a") }, &text("task")).await.unwrap();
    assert_eq!(numbers.list(&1).await.unwrap(), []);
    assert_eq!(tasks.list(&1).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_what_has_ended_does_not_grow() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let tasks = one.kit.states("task").ttl(Duration::from_millis(200)).build::<Owned<u64, u64>, String>();
    for id in 0..300 {
        tasks.put(&Owned { owner: 1, id }, &text("task")).await.unwrap();
        if id % 100 == 99 {
            sleep(Duration::from_millis(150)).await;
        }
    }
    sleep(Duration::from_millis(100)).await;
    for id in 300..400 {
        tasks.put(&Owned { owner: 1, id }, &text("task")).await.unwrap();
    }
    let length: u32 = server.cli(&["ZCARD", "kit#state:task:1:#"]).trim().trim_start_matches(':').parse().unwrap();
    assert!(length <= 250, "{length} names of about 100 that are there");
}

// Names.

#[tokio::test(flavor = "multi_thread")]
async fn states_of_a_service_are_not_those_of_its_jobs() {
    let kit = in_memory();
    let jobs = kit.jobs().job("tick", Schedule::every(Duration::from_secs(1)), |_| async { Ok::<(), String>(()) });
    let own = kit.states("job").ttl(LONG).build::<String, u64>();
    own.put(&text("tick"), &5).await.unwrap();
    let task = tokio::spawn(jobs.run());
    sleep(Duration::from_millis(1500)).await;
    task.abort();
    assert_eq!(own.get(&text("tick")).await.unwrap(), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_and_its_text_are_two_keys() {
    let limiter = in_memory().limiter("api", Quota::new(1, LONG));
    assert!(limiter.check(&7).await.is_allowed);
    assert!(limiter.check("7").await.is_allowed);
}

// Limits.

#[tokio::test(flavor = "multi_thread")]
async fn large_limits_do_not_overflow() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    for kit in [&one.kit, &in_memory()] {
        let endless = kit.limiter("endless", Quota::new(1, Duration::MAX).burst(u32::MAX));
        assert!(endless.check(&1).await.is_allowed);
        assert!(!endless.check(&1).await.is_allowed);
        assert!(!endless.check_many(&1, u32::MAX).await.is_allowed);
        let many = kit.limiter("many", Quota::per_minute(u32::MAX));
        assert!(many.check(&1).await.is_allowed);
        assert!(!kit.limiter("few", Quota::per_minute(3)).check_many(&2, u32::MAX).await.is_allowed);
    }
}

/// A clock that was wrong and is put right does not lock anybody out.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_does_not_lock_out() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let limiter = one.kit.limiter("api", Quota::new(3, Duration::from_secs(1)));
    limiter.check(&1).await;
    // As if it had been written while the clock was an hour ahead.
    let ahead = (std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() + 3_600_000_000).to_string();
    server.cli(&["SET", "kit#limit:api:1", &ahead, "PX", "3600000"]);
    server.cli(&["DEL", "kit#limit:api:1:window"]);
    server.cli(&["LPUSH", "kit#limit:api:1:window", &ahead, &ahead, &ahead]);
    let refused = limiter.check(&1).await;
    assert!(refused.retry_after <= Duration::from_secs(1), "{refused:?}");
    sleep(Duration::from_millis(2_100)).await;
    assert!(limiter.check(&1).await.is_allowed);
}

/// Who waits as long as it was told is let in, in all kinds of quotas.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_told_is_let_in() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    for kit in [&one.kit, &in_memory()] {
        for (name, quota) in [
            ("window", Quota::new(7, Duration::from_secs(1))),
            ("spread", Quota::new(7, Duration::from_secs(1)).burst(2)),
            ("rate", Quota::new(7, Duration::from_secs(1)).burst(3).without_window()),
        ] {
            let limiter = kit.limiter(name, quota);
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(2_500) {
                let refused = limiter.check(&1).await;
                if !refused.is_allowed {
                    sleep(refused.retry_after).await;
                    let again = limiter.check(&1).await;
                    assert!(again.is_allowed, "{name}: {refused:?} {again:?}");
                }
            }
        }
    }
}

// Locks.

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

// Topics.

/// Also where only the publisher was cut off.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_told_of_what_a_publisher_without_redis_said() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let (here, there): (Topic<u32>, Topic<u32>) = (one.kit.topic("shifts"), other.kit.topic("shifts"));
    let mut far = there.subscribe().await;
    here.publish(&1).await.unwrap();
    assert_eq!(timeout(PATIENCE, far.next()).await.unwrap(), Some(Heard::Message(1)));
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    assert_eq!(here.publish(&2).await.unwrap(), Scope::ThisInstance);
    proxy.resume();
    one.waits(true).await;
    let heard = timeout(Duration::from_secs(5), far.next()).await;
    assert_eq!(heard.expect("it is told that it missed something"), Some(Heard::Gap));
    here.publish(&3).await.unwrap();
    loop {
        match timeout(PATIENCE, far.next()).await.unwrap() {
            Some(Heard::Message(3)) => break,
            heard => assert_eq!(heard, Some(Heard::Gap)),
        }
    }
}

/// Slow ones lose messages, and are told.
#[tokio::test(flavor = "multi_thread")]
async fn slow_subscribers_are_told() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    for kit in [&one.kit, &in_memory()] {
        let topic: Topic<u32> = kit.topic("many");
        let mut slow = topic.subscribe().await;
        for number in 0..10_000 {
            topic.publish(&number).await.unwrap();
        }
        let (mut next, mut gaps) = (0, 0);
        let began = Instant::now();
        let mut last = 10_000;
        while next <= 10_000 {
            match timeout(Duration::from_millis(1500), slow.next()).await {
                Ok(Some(Heard::Message(number))) => {
                    assert!(number == next || gaps > 0, "{number} after {next}");
                    if number != next {
                        gaps -= 1;
                    }
                    next = number + 1;
                }
                Ok(Some(Heard::Gap)) => gaps += 1,
                Ok(None) => panic!("it ended"),
                Err(_) => {
                    topic.publish(&last).await.unwrap();
                    last += 1;
                }
            }
            assert!(began.elapsed() < PATIENCE);
        }
    }
}

// Places.

#[tokio::test(flavor = "multi_thread")]
async fn as_many_places_as_there_are() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let [here, there]: [Places<u64>; 2] = [&one.kit, &other.kit].map(|kit| kit.places("object"));
    here.put(&1, 13.0, 52.0).await.unwrap();
    assert_eq!(there.nearest(13.0, 52.0, usize::MAX).await.unwrap().len(), 1);
    assert_eq!(there.nearest(13.0, 52.0, 0).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_at_the_same_distance_are_in_the_same_order() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let [real, model]: [Places<u64>; 2] = [one.kit.places("same"), in_memory().places("same")];
    for id in 0..60 {
        let id = id * 7919 % 61;
        for places in [&real, &model] {
            places.put(&id, 13.0, 52.0).await.unwrap();
            places.put(&(100 + id), 13.0 + f64::from(u32::try_from(id % 5).unwrap()) / 1e3, 52.0).await.unwrap();
        }
    }
    for most in [1, 2, 3, 5, 10, 30, 59, 60, 61, 100, 1000] {
        let real = real.nearest(13.0, 52.0, most).await.unwrap();
        let model = model.nearest(13.0, 52.0, most).await.unwrap();
        let ids = |near: &[cache_kit::Near<u64>]| near.iter().map(|near| near.id).collect::<Vec<_>>();
        assert_eq!(ids(&real), ids(&model), "{most}");
    }
}

/// Near the poles, around the other side, and with every radius.
#[tokio::test(flavor = "multi_thread")]
async fn memory_finds_what_redis_finds_at_the_edges() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let [real, model]: [Places<u64>; 2] = [one.kit.places("same"), in_memory().places("same")];
    let mut random = fastrand::Rng::with_seed(11);
    let mut point = move || {
        let longitude = match random.u8(0..5) {
            0 => 180.0 - random.f64() * 0.01,
            1 => -180.0 + random.f64() * 0.01,
            2 => 180.0,
            3 => -180.0,
            _ => random.f64() * 360.0 - 180.0,
        };
        let latitude = match random.u8(0..6) {
            0 => 85.051_128_78,
            1 => -85.051_128_78,
            2 => 80.0 + random.f64() * 5.0,
            3 => -80.0 - random.f64() * 5.0,
            4 => 0.0,
            _ => random.f64() * 170.0 - 85.0,
        };
        (longitude, latitude, 10_f64.powf(random.f64() * 7.4))
    };
    for id in 0..400 {
        let (longitude, latitude, _) = point();
        for places in [&real, &model] {
            places.put(&id, longitude, latitude).await.unwrap();
        }
    }
    let mut wrong = Vec::new();
    for _ in 0..1500 {
        let (longitude, latitude, metres) = point();
        let [real, model] = [
            real.within(longitude, latitude, metres, 1_000).await.unwrap(),
            model.within(longitude, latitude, metres, 1_000).await.unwrap(),
        ];
        let ids =
            |near: &[cache_kit::Near<u64>]| near.iter().map(|near| near.id).collect::<std::collections::BTreeSet<_>>();
        if ids(&real) != ids(&model) {
            wrong.push(format!("{longitude} {latitude} {metres}: {} {}", real.len(), model.len()));
        }
    }
    assert!(wrong.is_empty(), "{} of 1500: {:#?}", wrong.len(), &wrong[..wrong.len().min(12)]);
}

/// What waits to be sent is not lost with the handle.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_of_an_outage_outlives_its_handle() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    server.kill();
    one.waits(false).await;
    assert_eq!(one.kit.places::<u64>("object").put(&3, 13.41, 52.53).await.unwrap(), Scope::ThisInstance);
    server.restart();
    one.waits(true).await;
    sleep(Duration::from_secs(1)).await;
    let other: Places<u64> = Instance::on(&server.url()).await.kit.places("object");
    assert_eq!(other.nearest(13.41, 52.53, 1).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_an_outage_outlives_its_handle() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    server.kill();
    one.waits(false).await;
    let states = one.kit.states("draft").ttl(LONG).build::<u64, String>();
    assert_eq!(states.put(&3, &text("late")).await.unwrap(), Scope::ThisInstance);
    drop(states);
    server.restart();
    one.waits(true).await;
    sleep(Duration::from_secs(1)).await;
    let states = one.kit.states("draft").ttl(LONG).build::<u64, String>();
    assert_eq!(states.get(&3).await.unwrap().as_deref(), Some("late"));
}

/// Of one handle and another in the same process, the later change counts.
#[tokio::test(flavor = "multi_thread")]
async fn handles_of_the_same_places_are_in_step() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let [first, second]: [Places<u64>; 2] = [one.kit.places("object"), one.kit.places("object")];
    server.kill();
    one.waits(false).await;
    for number in 0..300 {
        first.put(&number, 13.0, 52.0).await.unwrap();
    }
    server.restart();
    one.waits(true).await;
    for number in 0..300 {
        second.put(&number, 14.0, 53.0).await.unwrap();
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(second.within(14.0, 53.0, 1000.0, 1000).await.unwrap().len(), 300);
}

// Jobs.

#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_while_redis_was_lost_is_made_up_for() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ran = Arc::clone(&runs);
    let jobs =
        one.kit.jobs().lasts(Duration::from_secs(2)).job("tick", Schedule::every(Duration::from_secs(5)), move |run| {
            ran.lock().unwrap().push(run.due);
            async { Ok::<(), String>(()) }
        });
    let task = tokio::spawn(jobs.clone().run());
    let began = Instant::now();
    while runs.lock().unwrap().is_empty() {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_millis(300)).await;
    let count = jobs.reports().await.unwrap()[0].1.runs;
    assert_eq!(count, 1);
    server.kill();
    one.waits(false).await;
    // One time goes by, and is 500 ms past when Redis comes back, empty.
    sleep(Duration::from_millis(5_500)).await;
    server.remove_dump();
    server.restart();
    one.waits(true).await;
    let began = Instant::now();
    while runs.lock().unwrap().len() < 2 {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    let runs = runs.lock().unwrap().clone();
    task.abort();
    assert_eq!((runs[1] - runs[0]).num_seconds(), 5, "the missed one: {runs:?}");
}

#[test]
#[should_panic(expected = "tick")]
fn two_jobs_of_one_name_are_refused() {
    let every = || Schedule::every(Duration::from_secs(1));
    let ok = |_| async { Ok::<(), String>(()) };
    drop(in_memory().jobs().job("tick", every(), ok).job("tick", every(), ok));
}

#[test]
fn schedules_bear_odd_spans() {
    let now = "2026-03-01T09:00:00Z".parse().unwrap();
    assert!(Schedule::Every(Duration::ZERO).after(now) > Some(now));
    assert!(Schedule::every(Duration::MAX).after(now).is_none());
    let began = std::time::Instant::now();
    assert!(Schedule::cron("0 0 30 2 *").unwrap().after(now).is_none());
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[test]
fn a_bad_expression_says_what_is_wrong() {
    for bad in ["", "* * * *", "61 * * * *", "every day", "0 25 * * *"] {
        let error = Schedule::cron(bad).unwrap_err();
        println!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default());
    }
}

/// Where it cannot be read, and that is an error, it stays.
#[tokio::test]
async fn what_cannot_be_read_is_not_taken() {
    let kit = in_memory();
    let old = kit.states("shape").ttl(LONG).build::<u64, (u32, u32)>();
    old.put(&1, &(1, 2)).await.unwrap();
    let strict = kit.states("shape").ttl(LONG).unreadable_is_an_error().build::<u64, (String, u32)>();
    assert!(matches!(strict.take(&1).await, Err(StateError::Unreadable(_))));
    assert_eq!(old.get(&1).await.unwrap(), Some((1, 2)));
}

/// Changes whose callers went away are made once or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_changes_are_made_once_at_most() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let counts = [&one, &other].map(|it| it.kit.states("count").ttl(LONG).build::<u64, u64>());
    let tasks: Vec<_> = (0..400)
        .map(|number| {
            let counts = counts[number % 2].clone();
            let task = async move { counts.update(&1, |old| Some(old.unwrap_or(0) + 1)).await };
            tokio::spawn(timeout(Duration::from_micros(fastrand::u64(100..200_000)), task))
        })
        .collect();
    let (mut made, mut given_up) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(Ok(_)) => made += 1,
            _ => given_up += 1,
        }
    }
    let count = counts[0].get(&1).await.unwrap().unwrap_or(0);
    assert!(count >= made && count <= made + given_up, "{made} {count} {given_up}");
    assert_eq!(counts[0].waiting() + counts[1].waiting(), 0);
}

/// No call hangs where Redis does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_hangs_with_a_frozen_redis() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let kit = &one.kit;
    let states = kit.states("s").ttl(LONG).build::<u64, String>();
    let tasks = kit.states("t").ttl(LONG).build::<Owned<u64, u64>, String>();
    for id in 0..50 {
        tasks.put(&Owned { owner: 1, id }, &text("x")).await.unwrap();
    }
    states.put(&1, &text("x")).await.unwrap();
    let (codes, limiter, locks) = (kit.codes("c"), kit.limiter("l", Quota::per_minute(5)), kit.locks("k"));
    let code = codes.issue("ada").await.unwrap();
    let topic: Topic<u32> = kit.topic("t");
    let places: Places<u64> = kit.places("p");
    let guard = locks.try_acquire(&1).await.unwrap();
    let mut subscription = topic.subscribe().await;
    for round in 0..3 {
        server.stop();
        let limit = Duration::from_secs(8);
        let began = Instant::now();
        let ended = tokio::join!(
            timeout(limit, states.get(&1)),
            timeout(limit, states.update(&1, |old| old)),
            timeout(limit, states.take(&7)),
            timeout(limit, tasks.list(&1)),
            timeout(limit, codes.issue("bob")),
        );
        let is_ended = [ended.0.is_ok(), ended.1.is_ok(), ended.2.is_ok(), ended.3.is_ok(), ended.4.is_ok()];
        assert_eq!(is_ended, [true; 5], "round {round}");
        let ended = tokio::join!(
            timeout(limit, codes.verify("ada", &code)),
            timeout(limit, limiter.check(&1)),
            timeout(limit, locks.acquire(&2, Duration::from_secs(1))),
            timeout(limit, topic.publish(&1)),
            timeout(limit, places.put(&1, 1.0, 1.0)),
        );
        let is_ended = [ended.0.is_ok(), ended.1.is_ok(), ended.2.is_ok(), ended.3.is_ok(), ended.4.is_ok()];
        assert_eq!(is_ended, [true; 5], "round {round}");
        assert!(!matches!(ended.0, Ok(Ok(cache_kit::Verdict::Accepted))), "it may be used elsewhere");
        assert!(began.elapsed() < limit, "{:?}", began.elapsed());
        server.cont();
        one.waits(true).await;
        until_none_waits(&states).await;
    }
    guard.release().await;
    let mut heard = Vec::new();
    while let Ok(Some(one)) = timeout(Duration::from_secs(2), subscription.next()).await {
        heard.push(one);
    }
    assert!(heard.contains(&Heard::Message(1)), "{heard:?}");
    assert_eq!(states.get(&1).await.unwrap().as_deref(), Some("x"));
}

/// All that is kept ends some time, but places.
#[tokio::test(flavor = "multi_thread")]
async fn all_keys_but_places_end() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let kit = &one.kit;
    let tasks = kit.states("t").ttl(LONG).sliding().build::<Owned<u64, u64>, String>();
    tasks.put(&Owned { owner: 1, id: 1 }, &text("x")).await.unwrap();
    tasks.put(&Owned { owner: 1, id: 2 }, &text("x")).await.unwrap();
    tasks.get(&Owned { owner: 1, id: 2 }).await.unwrap();
    tasks.take(&Owned { owner: 1, id: 2 }).await.unwrap();
    let codes = kit.codes("c");
    let code = codes.issue("ada").await.unwrap();
    codes.verify("ada", "no").await.unwrap();
    codes.verify("ada", &code).await.unwrap();
    codes.issue("bob").await.unwrap();
    for quota in [Quota::per_minute(2), Quota::per_second(20_000), Quota::per_minute(3).burst(1)] {
        let limiter = kit.limiter(&format!("l{}", quota.count()), quota);
        for _ in 0..3 {
            limiter.check(&1).await;
        }
    }
    let guard = kit.locks("k").try_acquire(&1).await.unwrap();
    drop(kit.locks("k").acquire(&1, Duration::from_millis(100)).await);
    let topic: Topic<u32> = kit.topic("t");
    topic.publish(&1).await.unwrap();
    kit.places::<u64>("p").put(&1, 1.0, 1.0).await.unwrap();
    let keys = server.cli(&["KEYS", "kit#*"]);
    let mut endless = Vec::new();
    for key in keys.lines().filter(|line| line.starts_with("kit#")) {
        if server.cli(&["PTTL", key]).trim() == ":-1" {
            endless.push(key.to_owned());
        }
    }
    assert_eq!(endless, ["kit#places:'':p"]);
    drop(guard);
}

/// Due times are whole seconds, the same whenever they are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_by_cron_run() {
    let every_second = Schedule::cron("* * * * * *").unwrap();
    let daily = Schedule::cron("0 9 * * *").unwrap();
    let next = |schedule: &Schedule, moment: &str| schedule.after(moment.parse().unwrap()).unwrap().to_rfc3339();
    assert_eq!(next(&every_second, "2026-03-01T08:59:59.9Z"), "2026-03-01T09:00:00+00:00");
    assert_eq!(next(&daily, "2026-03-01T08:59:59.9Z"), "2026-03-01T09:00:00+00:00");
    assert_eq!(next(&daily, "2026-03-01T09:00:00.1Z"), "2026-03-02T09:00:00+00:00");
    // What clocks are set to elsewhere does not matter.
    assert_eq!(next(&daily, "2026-03-29T00:30:00.5Z"), "2026-03-29T09:00:00+00:00");
    let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ran = Arc::clone(&runs);
    let jobs = in_memory().jobs().job("tick", every_second, move |run| {
        ran.lock().unwrap().push(run.due);
        async { Ok::<(), String>(()) }
    });
    let task = tokio::spawn(jobs.run());
    let began = Instant::now();
    while runs.lock().unwrap().len() < 3 {
        assert!(began.elapsed() < PATIENCE, "{:?}", runs.lock().unwrap());
        sleep(Duration::from_millis(20)).await;
    }
    task.abort();
    assert!(runs.lock().unwrap().iter().all(|due| due.timestamp_subsec_nanos() == 0));
}

/// A browser more is no connection to Redis more.
#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_to_a_topic_share_a_connection() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let count = || server.cli(&["CLIENT", "LIST"]).matches("addr=").count() / 2;
    let before = count();
    let topic: Topic<u32> = one.kit.topic("shifts");
    let mut all = Vec::new();
    for _ in 0..50 {
        all.push(one.kit.topic::<u32>("shifts").subscribe().await);
    }
    assert!(count() <= before + 1, "{before} {}", count());
    topic.publish(&1).await.unwrap();
    for subscription in &mut all {
        assert_eq!(timeout(PATIENCE, subscription.next()).await.unwrap(), Some(Heard::Message(1)));
    }
    drop(all);
    let began = Instant::now();
    while count() > before {
        assert!(began.elapsed() < PATIENCE, "the connection stays");
        sleep(Duration::from_millis(20)).await;
    }
    // And again.
    let mut again = topic.subscribe().await;
    topic.publish(&2).await.unwrap();
    assert_eq!(timeout(PATIENCE, again.next()).await.unwrap(), Some(Heard::Message(2)));
}

/// One instance at a time, also where it takes longer than the interval, and again where that died.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_job_runs_in_one_instance_and_again_after_a_crash() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let inside = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tasks: Vec<_> = [("one", &one), ("other", &other)]
        .map(|(name, it)| {
            let (inside, runs) = (Arc::clone(&inside), Arc::clone(&runs));
            let jobs = it.kit.jobs().instance(name).lasts(Duration::from_secs(1));
            let every = Schedule::every(Duration::from_secs(1));
            tokio::spawn(
                jobs.job("long", every, move |run| {
                    let (inside, runs) = (Arc::clone(&inside), Arc::clone(&runs));
                    async move {
                        struct Leaves(Arc<std::sync::atomic::AtomicU32>);
                        impl Drop for Leaves {
                            fn drop(&mut self) {
                                self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            }
                        }
                        let count = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                        let _leaves = Leaves(inside);
                        runs.lock().unwrap().push((run.due, name, count));
                        sleep(Duration::from_millis(2_500)).await;
                        Ok::<(), String>(())
                    }
                })
                .run(),
            )
        })
        .into();
    let began = Instant::now();
    while runs.lock().unwrap().len() < 3 {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    // Whoever runs it now dies.
    let (due, who, _) = *runs.lock().unwrap().last().unwrap();
    tasks[usize::from(who == "other")].abort();
    let count = runs.lock().unwrap().len();
    while runs.lock().unwrap().len() == count {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    let runs = runs.lock().unwrap().clone();
    assert_eq!((runs[count].0, runs[count].1 == who), (due, false), "{runs:?}");
    assert!(runs.iter().all(|(.., count)| *count == 1), "{runs:?}");
    for task in tasks {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_at_once_are_all_made() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let counts = [&one, &other].map(|it| it.kit.states("count").ttl(LONG).build::<u64, u64>());
    let changes: Vec<_> = (0..200)
        .map(|number| {
            let counts = counts[number % 2].clone();
            tokio::spawn(async move { counts.update(&1, |old| Some(old.unwrap_or(0) + 1)).await })
        })
        .collect();
    for change in changes {
        change.await.unwrap().unwrap();
    }
    assert_eq!(counts[0].get(&1).await.unwrap(), Some(200));
}
