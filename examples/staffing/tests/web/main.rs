//! The web service as its users have it: real processes of the program, two on one Redis and one database.

mod browser;
mod browser_outage;
mod client;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "the small data are for the other tests")]
mod common;
mod events;
mod limits;
mod many;
mod outage;
mod pages;
mod payments;
mod sessions;
mod start;
mod world;

use client::{Client, Reply};
use serde_json::json;
use world::World;

/// An object of the owner with the same number, as the first objects are.
const OBJECT: i64 = 7;
const OWNER: &str = "owner-7";

/// Takes so many people on at the object. Their ids.
async fn hire(owner: &Client, count: usize) -> Vec<i64> {
    let mut all = Vec::new();
    for number in 0..count {
        let sent = json!({
            "object_id": OBJECT, "name": format!("Newcomer {number}"), "trade": "cook", "starts_on": "2026-11-02", "hourly_cents": 2_000,
        });
        let reply = owner.post("/api/contracts", &sent).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        all.push(reply.json()["employee_id"].as_i64().expect("a number"));
    }
    all
}

/// Opens a slot at the object that takes one. Its id.
async fn one_seat(owner: &Client, day: &str) -> i64 {
    let sent = json!({ "day": day, "starts": 600, "ends": 660, "capacity": 1 });
    let reply = owner.post(&format!("/api/objects/{OBJECT}/slots"), &sent).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()["id"].as_i64().expect("a number")
}

/// How many are booked into a slot, as the calendar of an instance says.
async fn taken(owner: &Client, day: &str, slot: i64) -> i64 {
    let reply = owner.get(&format!("/api/objects/{OBJECT}/slots?from={day}&to={day}")).await;
    let slots = reply.json();
    let found = slots.as_array().expect("a list").iter().find(|one| one["id"] == slot).expect("the slot is there");
    found["taken"].as_i64().expect("a number")
}

/// The statuses of many replies, counted.
fn count(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}
