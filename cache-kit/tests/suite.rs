//! The blocks under one suite: in memory, on one Redis with two instances, and in a cluster.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use cache_core::{Cache, Store};
use cache_kit::{
    Heard, Kit, LockError, Near, Owned, PlaceError, Places, Quota, Schedule, Scope, States, Topic, Verdict,
};
use cache_redis::{RedisConfig, RedisStore};
use test_support::{ClusterOptions, ClusterServers, RedisServer, shared_url, unique};
use tokio::time::{Instant, sleep, timeout};

const LONG: Duration = Duration::from_secs(60);

/// Two instances of a service.
#[derive(Clone)]
struct Two {
    one: Kit,
    other: Kit,
}

async fn over(url: &str, namespace: &str) -> Kit {
    let config = RedisConfig::new(url).namespace(namespace).require();
    let config = config.call_timeout(Duration::from_secs(3)).connect_timeout(Duration::from_secs(10));
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(config).await.expect("Redis is there"));
    Kit::of(&Cache::builder().store(store).build().expect("it is complete"))
}

async fn on_redis(url: &str) -> Two {
    let namespace = unique("kit");
    Two { one: over(url, &namespace).await, other: over(url, &namespace).await }
}

fn in_memory() -> Two {
    let kit = Kit::of(&Cache::memory());
    Two { one: kit.clone(), other: kit }
}

async fn states(Two { one, other }: Two) {
    let [here, there]: [States<u64, String>; 2] = [&one, &other].map(|kit| kit.states("draft").ttl(LONG).build());
    assert_eq!(here.get(&7).await.unwrap(), None);
    assert_eq!(here.put(&7, &"one".to_owned()).await.unwrap(), Scope::Everywhere);
    assert_eq!(there.get(&7).await.unwrap().as_deref(), Some("one"));
    assert!(there.touch(&7).await.unwrap() && !there.touch(&8).await.unwrap());
    let other_name: States<u64, String> = one.states("other").build();
    assert_eq!(other_name.get(&7).await.unwrap(), None, "names are apart");

    // Of many who take it one gets it.
    let takers = (0..50).map(|number| {
        let states = if number % 2 == 0 { here.clone() } else { there.clone() };
        tokio::spawn(async move { states.take(&7).await.unwrap() })
    });
    let mut taken = 0;
    for taker in takers.collect::<Vec<_>>() {
        taken += u32::from(taker.await.unwrap().is_some());
    }
    assert_eq!(taken, 1);
    assert_eq!(here.get(&7).await.unwrap(), None);

    // Changes of many are all made.
    let counts: [States<str_key::Text, u64>; 2] = [&one, &other].map(|kit| kit.states("count").ttl(LONG).build());
    let changes = (0..40).map(|number| {
        let states = counts[number % 2].clone();
        tokio::spawn(async move { states.update(&"all".into(), |old| Some(old.unwrap_or(0) + 1)).await })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap().unwrap();
    }
    assert_eq!(counts[0].get(&"all".into()).await.unwrap(), Some(40));
    assert_eq!(counts[1].update(&"all".into(), |_| None).await.unwrap(), None);
    assert_eq!(counts[0].get(&"all".into()).await.unwrap(), None);

    // What one owner has.
    let tasks: States<Owned<u64, String>, u32> = one.states("task").ttl(LONG).build();
    for (owner, id, value) in [(1, "b:", 1), (1, "a", 2), (2, "c", 3)] {
        tasks.put(&Owned { owner, id: id.to_owned() }, &value).await.unwrap();
    }
    let listed = other.states("task").ttl(LONG).build::<Owned<u64, String>, u32>();
    assert_eq!(listed.list(&1).await.unwrap(), [("b:".to_owned(), 1), ("a".to_owned(), 2)]);
    listed.take(&Owned { owner: 1, id: "b:".to_owned() }).await.unwrap();
    assert_eq!(tasks.list(&1).await.unwrap(), [("a".to_owned(), 2)]);
    assert_eq!(tasks.list(&3).await.unwrap(), []);
}

/// A key of text.
mod str_key {
    use cache_core::{KeyPart, key::Segment};

    pub(super) struct Text(&'static str);

    impl From<&'static str> for Text {
        fn from(text: &'static str) -> Self {
            Self(text)
        }
    }

    impl KeyPart for Text {
        fn encode(&self, segment: &mut Segment<'_>) {
            self.0.encode(segment);
        }
    }
}

async fn ends(Two { one, other }: Two) {
    let fixed: States<u64, u32> = one.states("fixed").ttl(Duration::from_millis(600)).build();
    let sliding: States<u64, u32> = other.states("sliding").ttl(Duration::from_millis(600)).sliding().build();
    fixed.put(&1, &1).await.unwrap();
    sliding.put(&1, &1).await.unwrap();
    for _ in 0..6 {
        sleep(Duration::from_millis(150)).await;
        assert_eq!(sliding.get(&1).await.unwrap(), Some(1), "reading keeps it");
    }
    assert_eq!(fixed.get(&1).await.unwrap(), None, "its time is over");
    sleep(Duration::from_millis(800)).await;
    assert_eq!(sliding.get(&1).await.unwrap(), None, "its time is over too");
}

async fn shapes(Two { one, other }: Two) {
    let old: States<u64, (u32, u32)> = one.states("shape").ttl(LONG).build();
    old.put(&1, &(1, 2)).await.unwrap();
    let new: States<u64, (String, u32)> = other.states("shape").ttl(LONG).build();
    assert_eq!(new.get(&1).await.unwrap(), None, "of an older shape");
    let strict: States<u64, (String, u32)> = other.states("shape").ttl(LONG).unreadable_is_an_error().build();
    assert_eq!(strict.get(&1).await.unwrap_err().to_string(), "what is stored cannot be read");
    new.update(&1, |old| old.or(Some(("new".to_owned(), 3)))).await.unwrap();
    assert_eq!(strict.get(&1).await.unwrap(), Some(("new".to_owned(), 3)));
}

async fn codes(Two { one, other }: Two) {
    let [here, there] = [&one, &other].map(|kit| kit.codes("login").secret("pepper").attempts(3));
    let code = here.issue("ada").await.unwrap();
    assert_eq!(there.verify("bob", &code).await.unwrap(), Verdict::Unknown);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(there.verify("ada", wrong).await.unwrap(), Verdict::Wrong { left: 2 });
    assert_eq!(here.verify("ada", &code).await.unwrap(), Verdict::Accepted);
    assert_eq!(there.verify("ada", &code).await.unwrap(), Verdict::Unknown, "used");

    let code = here.issue("ada").await.unwrap();
    for left in (0..3).rev() {
        assert_eq!(there.verify("ada", wrong).await.unwrap(), Verdict::Wrong { left });
    }
    assert_eq!(here.verify("ada", &code).await.unwrap(), Verdict::Exhausted, "also the right one");

    // 200 at once, in both instances.
    let code = there.issue("ada").await.unwrap();
    let uses = (0..200).map(|number| {
        let (codes, code) = (if number % 2 == 0 { here.clone() } else { there.clone() }, code.clone());
        tokio::spawn(async move { codes.verify("ada", &code).await.unwrap() })
    });
    let mut accepted = 0;
    for used in uses.collect::<Vec<_>>() {
        accepted += u32::from(used.await.unwrap() == Verdict::Accepted);
    }
    assert_eq!(accepted, 1);
    // And wrong ones at once do not get more attempts than there are.
    there.issue("ada").await.unwrap();
    let guesses = (0..50).map(|number| {
        let codes = if number % 2 == 0 { here.clone() } else { there.clone() };
        tokio::spawn(async move { codes.verify("ada", "not a code").await.unwrap() })
    });
    let mut told = 0;
    for guess in guesses.collect::<Vec<_>>() {
        told += u32::from(matches!(guess.await.unwrap(), Verdict::Wrong { .. }));
    }
    assert_eq!(told, 3);
}

async fn limits(Two { one, other }: Two) {
    let quota = Quota::new(10, Duration::from_secs(30));
    let [here, there] = [&one, &other].map(|kit| kit.limiter("api", quota));
    for number in 0..10 {
        let limiter = if number % 2 == 0 { &here } else { &there };
        let decision = limiter.check(&7).await;
        assert!(decision.is_allowed && decision.remaining == 9 - number && decision.limit == 10, "{decision:?}");
    }
    let refused = there.check(&7).await;
    assert!(!refused.is_allowed && refused.remaining == 0, "{refused:?}");
    assert!(refused.retry_after > Duration::from_secs(25) && refused.retry_after <= Duration::from_secs(30));
    assert!(refused.reset_after >= refused.retry_after, "{refused:?}");
    assert!(here.check(&8).await.is_allowed, "keys are apart");
    assert!(!here.check_many(&9, 11).await.is_allowed && here.check_many(&9, 10).await.is_allowed);

    // A burst has to be spread, and the window holds all the same.
    let spread = one.limiter("spread", Quota::new(20, Duration::from_secs(2)).burst(5));
    let began = Instant::now();
    let mut allowed = 0;
    let mut first_refusal = None;
    while began.elapsed() < Duration::from_millis(1_700) {
        if spread.check(&1).await.is_allowed {
            allowed += 1;
        } else {
            first_refusal.get_or_insert(allowed);
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(first_refusal.is_some_and(|after| (5..=7).contains(&after)), "{first_refusal:?}");
    assert!((15..=20).contains(&allowed), "{allowed}");

    // What was refused does not count.
    let short = other.limiter("short", Quota::new(3, Duration::from_millis(400)));
    for _ in 0..20 {
        short.check(&1).await;
    }
    sleep(Duration::from_millis(450)).await;
    assert!(short.check_many(&1, 3).await.is_allowed);
}

async fn locks(Two { one, other }: Two) {
    let [here, there] = [&one, &other].map(|kit| kit.locks("slot").lasts(Duration::from_secs(5)));
    let guard = here.try_acquire(&1).await.unwrap();
    assert_eq!((guard.scope(), guard.is_lost()), (Scope::Everywhere, false));
    assert!(matches!(there.try_acquire(&1).await, Err(LockError::Taken)));
    let began = Instant::now();
    assert!(matches!(there.acquire(&1, Duration::from_millis(200)).await, Err(LockError::Taken)));
    assert!(began.elapsed() < Duration::from_secs(4), "it waits no longer than it says");
    drop(there.try_acquire(&2).await.expect("keys are apart"));
    let before = guard.fence();
    assert!(guard.release().await);
    let guard = there.acquire(&1, Duration::from_secs(4)).await.unwrap();
    assert!(guard.fence() > before);
    drop(guard);

    // Never two at once, and all get it in time.
    let (inside, most, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let workers = (0..12).map(|number| {
        let locks = if number % 2 == 0 { here.clone() } else { there.clone() };
        let (inside, most, done) = (Arc::clone(&inside), Arc::clone(&most), Arc::clone(&done));
        tokio::spawn(async move {
            let guard = locks.acquire(&3, Duration::from_secs(30)).await.expect("its turn comes");
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(10)).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
            guard.release().await;
            guard_fence(number)
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    assert_eq!((most.load(Ordering::SeqCst), done.load(Ordering::SeqCst)), (1, 12));

    // It is renewed while it is held, and lapses when its holder is gone.
    let short = one.locks("short").lasts(Duration::from_millis(300));
    let guard = short.try_acquire(&1).await.unwrap();
    sleep(Duration::from_millis(900)).await;
    assert!(!guard.is_lost());
    assert!(matches!(other.locks("short").try_acquire(&1).await, Err(LockError::Taken)));
    drop(guard);
    let again = other.locks("short").acquire(&1, Duration::from_secs(4)).await;
    assert!(again.is_ok());
}

/// Says which worker it was, so that each is waited for.
fn guard_fence(number: usize) -> usize {
    number
}

async fn topics(Two { one, other }: Two) {
    let [here, there]: [Topic<(u32, String)>; 2] = [&one, &other].map(|kit| kit.topic("shifts"));
    let (mut near, mut far) = (here.subscribe().await, there.subscribe().await);
    let elsewhere: Topic<(u32, String)> = one.topic("elsewhere");
    elsewhere.publish(&(0, "not for them".to_owned())).await.unwrap();
    for number in 0..20 {
        let topic = if number % 2 == 0 { &here } else { &there };
        topic.publish(&(number, "<b>".to_owned())).await.unwrap();
    }
    for subscription in [&mut near, &mut far] {
        for number in 0..20 {
            let heard = timeout(Duration::from_secs(10), subscription.next()).await.expect("it comes");
            assert_eq!(heard, Some(Heard::Message((number, "<b>".to_owned()))));
        }
    }
}

async fn places(Two { one, other }: Two) {
    let [here, there]: [Places<u64>; 2] = [&one, &other].map(|kit| kit.places("object"));
    assert!(matches!(here.put(&1, 200.0, 0.0).await, Err(PlaceError::Outside { .. })));
    assert!(matches!(here.put(&1, f64::NAN, 0.0).await, Err(PlaceError::Outside { .. })));
    // Berlin, Potsdam, Hamburg.
    for (id, longitude, latitude) in [(1, 13.405, 52.52), (2, 13.0645, 52.3906), (3, 9.9937, 53.5511)] {
        here.put(&id, longitude, latitude).await.unwrap();
    }
    let ids = |near: Vec<Near<u64>>| near.into_iter().map(|near| near.id).collect::<Vec<_>>();
    assert_eq!(ids(there.nearest(13.4, 52.5, 2).await.unwrap()), [1, 2]);
    assert_eq!(ids(there.within(13.4, 52.5, 50_000.0, 10).await.unwrap()), [1, 2]);
    assert_eq!(ids(there.within(13.4, 52.5, 0.0, 10).await.unwrap()), [0; 0]);
    here.put(&3, 13.41, 52.53).await.unwrap();
    there.remove(&2).await.unwrap();
    let near = here.nearest(13.405, 52.52, 10).await.unwrap();
    assert_eq!(near.iter().map(|near| near.id).collect::<Vec<_>>(), [1, 3]);
    assert!(near[0].metres < 1.0 && (near[0].longitude - 13.405).abs() < 1e-5, "{near:?}");
}

async fn jobs(Two { one, other }: Two) {
    let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
    let jobs = |kit: &Kit, name: &str| {
        let (ran, runs) = (name.to_owned(), Arc::clone(&runs));
        kit.jobs().instance(name).job("tick", Schedule::every(Duration::from_secs(1)), move |run| {
            runs.lock().unwrap().push((run.due, ran.clone()));
            async { Ok::<(), String>(()) }
        })
    };
    let failing = |kit: &Kit| {
        kit.jobs().job("fails", Schedule::every(Duration::from_secs(1)), |_| async { Err("the printer is on fire") })
    };
    let (first, second, third) = (jobs(&one, "one"), jobs(&other, "other"), failing(&one));
    let tasks = [tokio::spawn(first.clone().run()), tokio::spawn(second.run()), tokio::spawn(third.clone().run())];
    let began = Instant::now();
    while runs.lock().unwrap().len() < 3 {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", runs.lock().unwrap());
        sleep(Duration::from_millis(20)).await;
    }
    for task in tasks {
        task.abort();
    }
    let runs = runs.lock().unwrap().clone();
    let dues: HashSet<_> = runs.iter().map(|(due, _)| *due).collect();
    assert_eq!(dues.len(), runs.len(), "each due time once: {runs:?}");
    let reports = first.reports().await.unwrap();
    assert_eq!(reports[0].0, "tick");
    assert!(reports[0].1.runs >= 3 && reports[0].1.failures == 0 && reports[0].1.next.is_some(), "{reports:?}");
    let reports = third.reports().await.unwrap();
    assert_eq!(reports[0].1.failure.as_deref(), Some("the printer is on fire"));
    assert!(reports[0].1.failures >= 1 && reports[0].1.duration().is_some());
}

macro_rules! suite {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::in_memory()).await;
            })*
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::on_redis(&super::shared_url()).await).await;
            })*
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_cluster_passes_it_too() {
            let cluster = ClusterServers::start(ClusterOptions { replicas: 0, node_timeout_ms: 20_000, ..Default::default() });
            let cluster = cluster.expect("there are servers to start");
            $($name(on_redis(&cluster.url()).await).await;)*
        }
    };
}

suite!(states ends shapes codes limits locks topics places jobs);

/// Whatever the points are.
#[tokio::test(flavor = "multi_thread")]
async fn memory_finds_what_redis_finds() {
    let Two { one: redis, .. } = on_redis(&shared_url()).await;
    let [real, model]: [Places<u64>; 2] = [redis.places("same"), in_memory().one.places("same")];
    let mut random = fastrand::Rng::with_seed(7);
    let mut point = move || (random.f64() * 360.0 - 180.0, random.f64() * 170.0 - 85.0, random.f64());
    let mut ids = 0;
    for _ in 0..300 {
        let (longitude, latitude, _) = point();
        ids += 1;
        // Some far, some near to each other.
        for (longitude, latitude) in [(longitude, latitude), (13.0 + longitude / 900.0, 52.0 + latitude / 900.0)] {
            ids += 1;
            for places in [&real, &model] {
                places.put(&ids, longitude, latitude).await.unwrap();
            }
        }
    }
    for _ in 0..200 {
        let (longitude, latitude, size) = point();
        for (longitude, latitude, metres) in
            [(longitude, latitude, 3e6 * size), (13.0 + longitude / 900.0, 52.0 + latitude / 900.0, 2e4 * size)]
        {
            let [real, model] = [
                real.within(longitude, latitude, metres, 1_000).await.unwrap(),
                model.within(longitude, latitude, metres, 1_000).await.unwrap(),
            ];
            let ids = |near: &[Near<u64>]| near.iter().map(|near| near.id).collect::<Vec<_>>();
            assert_eq!(ids(&real), ids(&model), "{longitude} {latitude} {metres}");
            for (one, other) in real.iter().zip(&model) {
                assert!((one.metres - other.metres).abs() < 0.001, "{one:?} {other:?}");
                assert!((one.longitude - other.longitude).abs() < 1e-9 && (one.latitude - other.latitude).abs() < 1e-9);
            }
        }
    }
}

/// No invalidation of the cache touches what the blocks keep.
#[tokio::test(flavor = "multi_thread")]
async fn clearing_the_cache_leaves_states_alone() {
    let server = RedisServer::own().expect("there is a server to start");
    let config = RedisConfig::new(server.url()).namespace("kit").require().call_timeout(Duration::from_secs(3));
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(config).await.expect("Redis is there"));
    let cache = Cache::builder().store(store).build().expect("it is complete");
    let states: States<u64, u32> = Kit::of(&cache).states("session").build();
    states.put(&1, &1).await.unwrap();
    cache.clear().await;
    cache.invalidate_matching("*").await;
    assert_eq!(states.get(&1).await.unwrap(), Some(1));
}

/// A decision is one round trip, and the limit is exact under full load from both instances.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_one_round_trip_and_the_limit_is_exact() {
    let server = RedisServer::own().expect("there is a server to start");
    let stores = [(); 2].map(|()| {
        let config = RedisConfig::new(server.url()).namespace("limit").require().call_timeout(Duration::from_secs(3));
        RedisStore::connect(config)
    });
    let [one, other] = stores;
    let (one, other): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(one.await.unwrap()), Arc::new(other.await.unwrap()));
    let limiters = [&one, &other].map(|store| {
        let cache = Cache::builder().store(Arc::clone(store)).build().expect("it is complete");
        Kit::of(&cache).limiter("api", Quota::new(100, Duration::from_secs(3)))
    });
    // The script is known from here on.
    limiters[0].check(&0).await;
    server.cli(&["CONFIG", "RESETSTAT"]);
    let began = Instant::now();
    let asking = limiters.map(|limiter| {
        tokio::spawn(async move {
            let (mut asked, mut allowed) = (0_u32, Vec::new());
            while began.elapsed() < Duration::from_secs(7) {
                asked += 1;
                if limiter.check(&7).await.is_allowed {
                    allowed.push(began.elapsed());
                }
            }
            (asked, allowed)
        })
    });
    let (mut asked, mut allowed) = (0, Vec::new());
    for asking in asking {
        let (some, times) = asking.await.unwrap();
        asked += some;
        allowed.extend(times);
    }
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls =
        stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok());
    let calls: u32 = calls.expect("scripts were called");
    // Others are heartbeats: none of them is a script but where instances keep copies.
    assert!(calls >= asked && calls < asked + 20, "{calls} calls for {asked} decisions");
    // Three windows have begun, and none has more than its quota.
    assert_eq!(allowed.len(), 300, "of {asked}");
    allowed.sort();
    let closest = allowed.windows(101).map(|some| some[100] - some[0]).min().expect("there are more");
    assert!(closest > Duration::from_millis(2_900), "101 within {closest:?}");
}
