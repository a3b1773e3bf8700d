//! A payment is looked after until it is decided, whichever instance lives.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{World, world::PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_booked_once_though_both_instances_are_killed_meanwhile() {
    let mut world = World::start(&[]);
    let owner = world.one.log_in("owner-5").await;
    let [paid, declined] = ["basic", "declined"].map(|plan| json!({ "plan": plan }));
    let paid = owner.post("/api/payments", &paid).await.json();
    let declined = owner.at(&world.two).post("/api/payments", &declined).await.json();
    assert_eq!((&paid["stage"], &declined["stage"]), (&json!("pending"), &json!("pending")));
    world.restart_instances();
    for (draft, stage) in [(paid, "paid"), (declined, "declined")] {
        let began = Instant::now();
        let path = format!("/api/payments/{}", draft["id"].as_str().expect("a name"));
        while owner.at(&world.two).get(&path).await.json()["stage"] != stage {
            assert!(began.elapsed() < PATIENCE, "never {stage}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    let subscriptions = owner.at(&world.one).get("/api/subscriptions").await.json();
    assert_eq!(subscriptions.as_array().map(Vec::len), Some(1), "{subscriptions}");
    assert_eq!(subscriptions[0]["plan"], "basic");
}
