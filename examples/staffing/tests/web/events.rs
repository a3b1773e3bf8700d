//! What happens in one instance is told to pages that the other has served.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::{OBJECT, OWNER, World, hire, one_seat, taken, world::PATIENCE};

/// Reads on until this has come.
async fn hears(events: &mut TcpStream, what: &str) -> String {
    let (mut heard, mut more) = (String::new(), [0; 1_024]);
    let listening = async {
        while !heard.contains(what) {
            let read = events.read(&mut more).await.expect("it is open");
            assert!(read > 0, "it ended after {heard}");
            heard += &String::from_utf8_lossy(&more[..read]);
        }
    };
    timeout(PATIENCE, listening).await.unwrap_or_else(|_| panic!("never heard {what}"));
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_in_one_instance_is_told_and_readable_in_the_other() {
    let world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    let (people, slot) = (hire(&owner, 1).await, one_seat(&owner, "2026-12-25").await);
    let there = owner.at(&world.two);
    assert_eq!(taken(&there, "2026-12-25", slot).await, 0);
    let mut events = there.open("GET", &format!("/events/shifts?object={OBJECT}"), &[], "").await;
    let head = hears(&mut events, "\r\n\r\n").await;
    assert!(head.contains("text/event-stream"), "{head}");
    // Of other objects nothing is heard.
    let other = world.one.log_in("owner-8").await;
    let sent = json!({ "day": "2026-12-25", "starts": 600, "ends": 660, "capacity": 1 });
    assert_eq!(other.post("/api/objects/8/slots", &sent).await.status, 201);
    tokio::time::sleep(Duration::from_millis(200)).await;

    let began = Instant::now();
    let booked = owner.post("/api/shifts", &json!({ "slot_id": slot, "employee_id": people[0] })).await;
    assert_eq!(booked.status, 201, "{booked:?}");
    let told = hears(&mut events, "\n\n").await;
    println!("heard {:?} after the booking was asked for", began.elapsed());
    assert_eq!(told.matches("event: changed").count(), 1, "{told}");
    assert_eq!(taken(&there, "2026-12-25", slot).await, 1, "what is read then is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_logged_out_hears_nothing_more() {
    let world = World::start(&[]);
    let (gone, owner) = (world.one.log_in(OWNER).await, world.one.log_in(OWNER).await);
    let there = gone.at(&world.two);
    let mut events = there.open("GET", &format!("/events/shifts?object={OBJECT}"), &[], "").await;
    hears(&mut events, "\r\n\r\n").await;
    assert_eq!(gone.form("/logout", "").await.status, 303);
    one_seat(&owner, "2026-12-29").await;
    let mut rest = Vec::new();
    timeout(PATIENCE, events.read_to_end(&mut rest)).await.expect("in time").expect("it ends");
    assert!(!String::from_utf8_lossy(&rest).contains("changed"), "{rest:?}");
}
