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

#[tokio::test(flavor = "multi_thread")]
async fn attempts_to_log_in_are_counted_by_address_whoever_asks_and_by_whichever_way() {
    let world = World::start(&["--attempts", "6"]);
    let code = world.one.new_code("owner-4").await;
    assert!(code.len() == 8 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    let owner = world.one.log_in("owner-4").await;
    for number in 1..8 {
        // Another user each time, as somebody would who has one guess at each.
        let login = format!("employee-{number}");
        let client = if number % 2 == 0 { owner.clone() } else { world.two.client() };
        let reply = if number % 3 == 0 {
            client.form("/login", &format!("login={login}&code=00000000")).await
        } else {
            client.post("/api/login", &json!({ "login": login, "code": "00000000" })).await
        };
        assert_eq!(reply.status, if number < 6 { 401 } else { 429 }, "{number}: {reply:?}");
        assert_eq!(reply.header("ratelimit-limit"), "6", "{number}: {reply:?}");
    }
    assert_eq!(world.two.client().get("/login").await.status, 200, "what is looked at is under another limit");
    assert_eq!(owner.get("/api/me").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_limits_nobody_counts_attempts() {
    let world = World::start(&["--attempts", "1", "--no-limits"]);
    for _ in 0..3 {
        let wrong = json!({ "login": "owner-4", "code": "00000000" });
        assert_eq!(world.one.client().post("/api/login", &wrong).await.status, 401);
    }
}
