//! What many want at once, one gets.

use serde_json::json;
use tokio::task::JoinSet;

use crate::{OWNER, World, count, hire, one_seat, taken};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_who_want_one_seat_in_two_instances_one_gets_it() {
    let world = World::start(&["--no-limits"]);
    let owner = world.one.log_in(OWNER).await;
    let (people, slot) = (hire(&owner, 10).await, one_seat(&owner, "2026-12-24").await);
    let mut attempts = JoinSet::new();
    for number in 0..200 {
        let client = owner.at(if number % 2 == 0 { &world.one } else { &world.two });
        let sent = json!({ "slot_id": slot, "employee_id": people[number % people.len()] });
        attempts.spawn(async move { client.post("/api/shifts", &sent).await });
    }
    let replies = attempts.join_all().await;
    assert_eq!((count(&replies, 201), count(&replies, 409)), (1, 199));
    for instance in [&world.one, &world.two] {
        assert_eq!(taken(&owner.at(instance), "2026-12-24", slot).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_two_hundred_use_at_once_lets_one_in() {
    let world = World::start(&["--no-limits"]);
    let code = world.one.new_code(OWNER).await;
    let mut attempts = JoinSet::new();
    for number in 0..200 {
        let client = if number % 2 == 0 { world.one.client() } else { world.two.client() };
        let sent = json!({ "login": OWNER, "code": code });
        attempts.spawn(async move { client.post("/api/login", &sent).await });
    }
    let replies = attempts.join_all().await;
    assert_eq!((count(&replies, 200), count(&replies, 401)), (1, 199));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_is_said_yes_to_twenty_times_at_once_is_made_once() {
    let world = World::start(&["--no-limits"]);
    let owner = world.one.log_in(OWNER).await;
    for form in [
        "step=object&object_id=7",
        "step=person&name=Twenty+Times&trade=cook",
        "step=terms&starts_on=2026-11-02&hourly_cents=2000",
    ] {
        assert_eq!(owner.form("/contracts/new", form).await.status, 303);
    }
    let mut attempts = JoinSet::new();
    for number in 0..20 {
        let client = owner.at(if number % 2 == 0 { &world.one } else { &world.two });
        attempts.spawn(async move { client.form("/contracts/new/yes", "").await });
    }
    let replies = attempts.join_all().await;
    assert_eq!((count(&replies, 303), count(&replies, 409)), (1, 19));
    let employees = owner.get("/employees").await.body;
    assert_eq!(employees.matches("Twenty Times").count(), 1, "{employees}");
}
