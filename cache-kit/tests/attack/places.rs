//! Places.

use std::time::Duration;

use cache_kit::{Owned, Places, Quota, Scope, StateError, Topic};
use test_support::RedisServer;
use tokio::time::sleep;

use crate::{Instance, LONG, in_memory, text};

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
