//! Redis is killed in the middle of everything, and comes back.

use std::time::{Duration, Instant};

use serde_json::json;
use test_support::RedisServer;
use tokio::task::JoinSet;

use crate::{OWNER, World, count, hire, one_seat, taken, world::PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_killed_nobody_is_logged_out_nothing_is_booked_twice_and_nothing_is_lost() {
    let mut world = World::start(&["--no-limits"]);
    let owner = world.one.log_in(OWNER).await;
    let employee = world.two.log_in("employee-3").await;
    let (people, slot) = (hire(&owner, 6).await, one_seat(&owner, "2026-12-26").await);
    let ended = world.one.log_in("owner-9").await;
    assert_eq!(ended.form("/logout", "").await.status, 303);
    assert_eq!(ended.at(&world.two).get("/api/me").await.status, 401);

    world.redis.kill();
    // At once, while both find out, and afterwards.
    for _ in 0..2 {
        for instance in [&world.one, &world.two] {
            assert_eq!(owner.at(instance).get("/home").await.status, 200);
            assert_eq!(employee.at(instance).get("/api/me").await.status, 200, "also who has never been here");
        }
        world.until(false).await;
    }
    assert_eq!(ended.at(&world.two).get("/api/me").await.status, 401, "who was seen to have gone stays out");

    let mut attempts = JoinSet::new();
    for number in 0..100 {
        let client = owner.at(if number % 2 == 0 { &world.one } else { &world.two });
        let sent = json!({ "slot_id": slot, "employee_id": people[number % people.len()] });
        attempts.spawn(async move { client.post("/api/shifts", &sent).await });
    }
    let replies = attempts.join_all().await;
    assert_eq!((count(&replies, 201), count(&replies, 409)), (1, 99));
    assert_eq!(owner.form("/contracts/new", "step=object&object_id=7").await.status, 303);
    assert_eq!(owner.form("/contracts/new", "step=person&name=Mean+While&trade=cook").await.status, 303);
    let late = world.two.log_in("owner-6").await;

    world.redis.restart();
    world.until(true).await;
    for instance in [&world.one, &world.two] {
        for client in [&owner, &employee, &late] {
            assert_eq!(client.at(instance).get("/api/me").await.status, 200);
        }
        assert_eq!(ended.at(instance).get("/api/me").await.status, 401);
        assert_eq!(taken(&owner.at(instance), "2026-12-26", slot).await, 1);
        let page = owner.at(instance).get("/contracts/new").await.body;
        assert!(page.contains("Step 3 of 4") && page.contains("Mean While, cook"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_logs_nobody_out() {
    let mut world = World::over(RedisServer::own().expect("a Redis of the test's own"), &["--no-limits"]);
    until_something_is_near(&world).await;
    let owner = world.one.log_in(OWNER).await;
    assert_eq!(owner.form("/contracts/new", "step=object&object_id=7").await.status, 303);
    world.redis.kill();
    world.until(false).await;
    world.redis.restart();
    world.until(true).await;
    assert_eq!(owner.at(&world.two).get("/api/me").await.status, 200, "an instance that has never seen the session");
    assert!(owner.get("/contracts/new").await.body.contains("Step 2 of 4"), "what this instance knows goes back");
    assert!(owner.at(&world.two).get("/contracts/new").await.body.contains("Step 2 of 4"));
    until_something_is_near(&world).await;
}

/// Waits for objects on the map, in both instances.
async fn until_something_is_near(world: &World) {
    let manager = world.one.log_in("manager-1").await;
    for instance in [&world.one, &world.two] {
        let began = Instant::now();
        let near = "/api/near?latitude=51.34&longitude=12.37&metres=500000";
        while manager.at(instance).get(near).await.json().as_array().is_none_or(Vec::is_empty) {
            assert!(began.elapsed() < PATIENCE, "nothing is on the map");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
