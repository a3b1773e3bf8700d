//! What is on the pages, and where they lead.

use serde_json::json;

use crate::{OWNER, World, hire, one_seat};

#[tokio::test(flavor = "multi_thread")]
async fn employees_are_shown_and_offered_with_the_number_that_a_booking_asks_for() {
    let world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    let (people, slot) = (hire(&owner, 1).await, one_seat(&owner, "2026-12-30").await);
    let sent = json!({ "name": "Elsewhere", "street": "a", "city": "b", "latitude": 51.3, "longitude": 12.4 });
    let elsewhere = owner.post("/api/owners/7/objects", &sent).await.json()["id"].clone();
    let sent = json!({
        "object_id": elsewhere, "name": "Else Where", "trade": "cook", "starts_on": "2026-11-02", "hourly_cents": 2_000,
    });
    assert_eq!(owner.post("/api/contracts", &sent).await.status, 201);
    let page = owner.get("/employees").await.body;
    assert!(page.contains(&format!("<td class=\"number\">{}<td>Newcomer 0<td>", people[0])), "{page}");
    let calendar = owner.get("/calendar/7?from=2026-12-30").await.body;
    assert!(calendar.contains(&format!("<option value=\"{}\">Newcomer 0,", people[0])), "{calendar}");
    assert!(calendar.contains(&format!("id=\"e-{slot}\"")), "{calendar}");
    assert!(page.contains("Else Where") && !calendar.contains("Else Where"), "only who can be booked is offered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_leads_back_to_the_page_that_asked_if_it_is_one_of_this_site() {
    let world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    let (at, slot) = (world.one.at(), one_seat(&owner, "2026-12-30").await);
    let sent = format!("object=7&from=2026-12-30&slot_id={slot}&employee_id=999999");
    for (referer, leads_to) in [
        (format!("http://{at}/calendar/7?from=2026-12-30"), "/calendar/7?from=2026-12-30"),
        (format!("http://{at}//elsewhere.example/"), "/"),
        (format!("http://{at}/\\elsewhere.example/"), "/"),
        (format!("http://{at}.elsewhere.example/calendar/7"), "/"),
        ("http://elsewhere.example/calendar/7".to_owned(), "/"),
        ("javascript:alert(1)".to_owned(), "/"),
    ] {
        let headers = ["Content-Type: application/x-www-form-urlencoded", &format!("Referer: {referer}")];
        let refused = owner.send("POST", "/book", &headers, &sent).await;
        assert_eq!(refused.status, 404, "{refused:?}");
        assert!(refused.body.contains(&format!("<a href=\"{leads_to}\">Go on</a>")), "{referer}: {}", refused.body);
    }
    assert_eq!(world.one.client().get("/login/code").await.header("location"), "/login", "the page of a form");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_leads_out_of_the_calendar() {
    let world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    for (from, earlier, later) in [("0000-01-03", false, true), ("9999-12-30", true, false), ("2026-11-02", true, true)]
    {
        let page = owner.get(&format!("/calendar/7?from={from}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let is_there = |link| page.body.contains(link);
        assert_eq!((is_there("a week earlier"), is_there("a week later")), (earlier, later), "{from}: {}", page.body);
        for link in page.body.split("href=\"?from=").skip(1) {
            let day = link.split('"').next().expect("a day");
            assert_eq!(owner.get(&format!("/calendar/7?from={day}")).await.status, 200, "{day}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_browsers_ask_for_by_themselves_is_there_and_every_answer_is_hardened() {
    let world = World::start(&[]);
    let (stranger, manager) = (world.one.client(), world.one.log_in("manager-1").await);
    for path in ["/metrics", "/healthz", "/favicon.ico", "/login", "/assets/staffing.css", "/nowhere"] {
        let reply = stranger.get(path).await;
        assert_eq!(reply.status, if path == "/nowhere" { 404 } else { 200 }, "{path}");
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
    }
    assert_eq!(stranger.get("/favicon.ico").await.header("content-type"), "image/svg+xml");
    let slashed = manager.get("/admin/cache/").await;
    assert_eq!((slashed.status, slashed.header("location")), (308, "/admin/cache"));
    assert!(manager.get("/admin/cache").await.status < 400);
    let refused = manager.post("/api/shifts", &json!({ "slot_id": 1, "employee_id": 999_999 })).await;
    assert_eq!(refused.header("content-type"), "application/json", "programs are told in JSON");
}
