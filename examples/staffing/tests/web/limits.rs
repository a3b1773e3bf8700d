//! How often anybody may ask.

use serde_json::json;

use crate::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_101st_request_of_an_employee_in_a_minute_is_refused_by_whichever_instance() {
    let world = World::start(&[]);
    let employee = world.one.log_in("employee-3").await;
    let clients = [employee.at(&world.one), employee.at(&world.two)];
    for number in 0..100 {
        let reply = clients[number % 2].get("/api/me").await;
        assert_eq!(reply.status, 200, "{number}: {reply:?}");
        assert_eq!(
            (reply.header("ratelimit-limit"), reply.header("ratelimit-remaining")),
            ("100", &*(99 - number).to_string())
        );
    }
    for client in &clients {
        let reply = client.get("/api/me").await;
        assert_eq!((reply.status, reply.header("ratelimit-remaining")), (429, "0"), "{reply:?}");
        let after: u64 = reply.header("retry-after").parse().expect("seconds");
        assert!((1..=60).contains(&after), "{reply:?}");
        let page = client.get("/home").await;
        assert_eq!((page.status, page.header("ratelimit-limit")), (429, "100"));
        assert!(page.body.contains("<h1>Too Many Requests</h1>") && page.body.contains("try again in"), "{page:?}");
    }
    let owner = world.two.log_in("owner-3").await;
    assert_eq!(owner.get("/api/me").await.header("ratelimit-limit"), "200", "another role, another limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_three_in_five_minutes_and_strangers_are_counted_by_address() {
    let world = World::start(&["--strangers", "12"]);
    let owner = world.one.log_in("owner-4").await;
    for number in 0..4 {
        let client = owner.at(if number % 2 == 0 { &world.one } else { &world.two });
        let reply = client.post("/api/payments", &json!({ "plan": "basic" })).await;
        assert_eq!(reply.status, if number < 3 { 202 } else { 429 }, "{number}: {reply:?}");
        assert_eq!(reply.header("ratelimit-limit"), "3");
    }
    assert_eq!(owner.get("/payments").await.status, 200, "what is looked at is under another limit");
    // Two were asked by the login.
    for number in 0..11 {
        let client = if number % 2 == 0 { world.one.client() } else { world.two.client() };
        assert_eq!(client.get("/login").await.status, if number < 10 { 200 } else { 429 }, "{number}");
    }
    assert_eq!(world.one.client().get("/healthz").await.status, 200, "health is not counted");
}
