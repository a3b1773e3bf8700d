//! Who is logged in, where, and who is not.

use serde_json::json;

use crate::{OWNER, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_holds_in_all_instances_and_after_restarts_until_it_is_ended_in_one() {
    let mut world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    assert_eq!(owner.at(&world.two).get("/api/me").await.json()["user"]["role"], "owner");
    world.restart_instances();
    let owner = owner.at(&world.one);
    assert_eq!(owner.get("/api/me").await.status, 200);
    let reply = owner.form("/logout", "").await;
    assert_eq!((reply.status, reply.header("location")), (303, "/login"));
    assert!(reply.header("set-cookie").contains("Max-Age=0"), "{reply:?}");
    for instance in [&world.one, &world.two] {
        assert_eq!(owner.at(instance).get("/api/me").await.status, 401);
        assert_eq!(owner.at(instance).get("/home").await.header("location"), "/login");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_told_dialogue_is_there_after_both_instances_were_killed() {
    let mut world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    assert_eq!(owner.form("/contracts/new", "step=object&object_id=7").await.status, 303);
    let person = "step=person&name=Half+Way&trade=nurse";
    assert_eq!(owner.at(&world.two).form("/contracts/new", person).await.status, 303);
    world.restart_instances();
    let page = owner.at(&world.two).get("/contracts/new").await.body;
    assert!(page.contains("Step 3 of 4") && page.contains("Half Way, nurse"), "{page}");
    let terms = "step=terms&starts_on=2026-11-02&hourly_cents=2100";
    assert_eq!(owner.at(&world.one).form("/contracts/new", terms).await.status, 303);
    assert_eq!(owner.at(&world.two).form("/contracts/new/yes", "").await.header("location"), "/employees");
    assert!(owner.at(&world.one).get("/employees").await.body.contains("Half Way"));
    assert!(owner.at(&world.one).get("/contracts/new").await.body.contains("Step 1 of 4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_by_a_forged_cookie_from_another_site_or_into_what_is_not_theirs() {
    let world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    for forged in [owner.cookie().replace("owner", "manager"), owner.cookie().replace(".7.", ".8."), "session=x".into()]
    {
        assert_eq!(world.one.client().with_cookie(forged).get("/api/me").await.status, 401);
    }
    for other in ["session=x", "session=", &owner.cookie().replace("owner", "manager")] {
        let both = world.one.client().with_cookie(format!("{other}; {}", owner.cookie()));
        let reply = both.get("/api/me").await;
        assert_eq!((reply.status, &reply.json()["user"]["role"]), (200, &json!("owner")), "{other} is no hindrance");
    }
    for header in ["Origin: http://elsewhere.example", "Sec-Fetch-Site: cross-site", "Origin: null"] {
        let reply = owner.send("POST", "/logout", &[header], "").await;
        assert_eq!(reply.status, 403, "{header}");
    }
    assert_eq!(owner.get("/api/me").await.status, 200);
    let login = world.two.client().get("/login").await;
    assert!(login.header("content-security-policy").starts_with("default-src 'none'"), "{login:?}");
    for path in [
        "/api/owners/8/employees",
        "/api/owners/8/contracts",
        "/api/objects/8",
        "/api/objects/8/slots",
        "/api/contracts/8",
        "/api/employees/3/shifts",
        "/api/analytics",
        "/api/jobs",
        "/calendar/8",
        "/manage",
        "/events/shifts?object=8",
    ] {
        assert_eq!(owner.get(path).await.status, 403, "{path}");
    }
    let sent = json!({ "name": "a", "street": "b", "city": "c", "latitude": 1.0, "longitude": 1.0 });
    assert_eq!(owner.post("/api/owners/8/objects", &sent).await.status, 403);
    let sent = owner.form("/me", "email=%3Cscript%3E&language=en").await;
    assert_eq!(sent.status, 303);
    let home = owner.get("/home").await.body;
    assert!(!home.contains("<script>") && home.contains("&#60;script&#62;"), "{home}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_of_the_manager_holds_everywhere_at_once() {
    let world = World::start(&[]);
    let (manager, owner) = (world.one.log_in("manager-1").await, world.two.log_in(OWNER).await);
    assert!(!owner.get("/home").await.body.contains("Closed on Friday"));
    assert_eq!(manager.form("/manage", "name=announcement&value=Closed+on+Friday").await.status, 303);
    assert!(owner.get("/home").await.body.contains("Closed on Friday"));
    assert_eq!(manager.form("/manage", "name=nothing&value=x").await.status, 409);
    let refused = manager.form("/manage", "name=booking&value=Open").await;
    assert!(refused.status == 409 && refused.body.contains("booking is open or closed"), "{refused:?}");
    let page = manager.get("/manage").await.body;
    for job in ["reminders", "clean-up", "analytics", "payments"] {
        assert!(page.contains(job), "{job}: {page}");
    }
    let jobs = manager.get("/api/jobs").await.json();
    let reminders =
        jobs.as_array().expect("a list").iter().find(|job| job["name"] == "reminders").expect("it is there");
    assert!(reminders["next"].as_str().is_some_and(|next| next.ends_with("T09:00:00Z")), "{reminders}");
}
