//! The same in a real Chromium.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_support::browser::{Browser, Device};

use crate::{
    OWNER, World, hire, one_seat,
    world::{Instance, PATIENCE},
};

pub(crate) async fn goto(browser: &Browser, instance: &Instance, path: &str) {
    browser.goto(&format!("http://{}{path}", instance.at())).await;
}

/// Logs in by the forms.
pub(crate) async fn log_in(browser: &Browser, instance: &Instance, login: &str) {
    goto(browser, instance, "/").await;
    browser.write("[name=login]", login).await;
    browser.click("main button").await;
    browser.find("[name=code]").await;
    browser.write("[name=code]", &instance.code(login).await).await;
    browser.click("main button").await;
    browser.find("#who").await;
}

/// Waits until there is an element with this text in it.
pub(crate) async fn reads(browser: &Browser, css: &str, text: &str) {
    let began = Instant::now();
    loop {
        let script = format!("const e = document.querySelector({}); return e && e.innerText", json!(css));
        let said = browser.script(&script).await;
        if said.as_str().is_some_and(|said| said.contains(text)) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{css} never reads {text}; the page says\n{}", browser.page().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_is_begun_in_one_instance_and_finished_in_another_after_both_were_killed() {
    let mut world = World::start(&[]);
    let browser = Browser::open(Device::Phone).await;
    log_in(&browser, &world.one, OWNER).await;
    goto(&browser, &world.two, "/contracts/new").await;
    reads(&browser, "#step", "Step 1 of 4").await;
    browser.click(".next").await;
    reads(&browser, "#step", "Step 2 of 4").await;
    browser.write("[name=name]", "Berta <i>Browser</i>").await;
    browser.write("[name=trade]", "guard").await;
    browser.click(".next").await;
    reads(&browser, "#step", "Step 3 of 4").await;
    world.restart_instances();
    goto(&browser, &world.one, "/contracts/new").await;
    reads(&browser, "#step", "Step 3 of 4").await;
    browser.click(".next").await;
    reads(&browser, "#step", "Step 4 of 4").await;
    goto(&browser, &world.two, "/contracts/new").await;
    browser.click(".next").await;
    reads(&browser, "#employees", "Berta <i>Browser</i>").await;
    let is_wider = browser.script("return document.documentElement.scrollWidth > innerWidth + 1").await;
    assert_eq!(is_wider, Value::Bool(false), "a page is no wider than a phone");
    browser.click("header button").await;
    browser.find("[name=login]").await;
    goto(&browser, &world.one, "/home").await;
    browser.find("[name=login]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_that_is_booked_in_one_instance_appears_in_the_open_page_of_the_other() {
    let mut world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    let (people, slot) = (hire(&owner, 2).await, one_seat(&owner, "2026-12-27").await);
    let browser = Browser::open(Device::Desktop).await;
    log_in(&browser, &world.two, OWNER).await;
    goto(&browser, &world.two, "/calendar/7?from=2026-12-27").await;
    browser.script("window.same = true").await;
    browser.wait_for("return document.getElementById('calendar').dataset.opened").await;
    let row = format!("#slot-{slot}");
    reads(&browser, &row, "0 of 1").await;
    let booked = owner.post("/api/shifts", &json!({ "slot_id": slot, "employee_id": people[0] })).await;
    assert_eq!(booked.status, 201);
    let answered = Instant::now();
    reads(&browser, &row, "Newcomer 0").await;
    println!("appeared after {} ms", answered.elapsed().as_millis());
    assert_eq!(browser.script("return window.same").await, Value::Bool(true), "the page was not loaded again");

    // The same over an outage: what happens meanwhile is there afterwards.
    world.redis.kill();
    world.until(false).await;
    let id = booked.json()["id"].as_i64().expect("a number");
    assert_eq!(owner.send("POST", &format!("/api/shifts/{id}/cancel"), &[], "").await.status, 200);
    world.redis.restart();
    world.until(true).await;
    reads(&browser, &row, "0 of 1").await;
    browser.find("#who").await;
    // By the page's form; in one go, since the page may be about to read itself anew.
    let script = "const field = document.getElementById('e-SLOT'); field.value = 'WHO'; field.form.requestSubmit()";
    browser.script(&script.replace("SLOT", &slot.to_string()).replace("WHO", &people[1].to_string())).await;
    reads(&browser, &row, "Newcomer 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_writes_in_the_calendar_is_left_alone_until_it_is_gone() {
    let world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    let (people, slot) = (hire(&owner, 1).await, one_seat(&owner, "2026-12-28").await);
    let sent = json!({ "day": "2026-12-28", "starts": 700, "ends": 760, "capacity": 1 });
    let other = owner.post("/api/objects/7/slots", &sent).await.json()["id"].as_i64().expect("a number");
    let browser = Browser::open(Device::Desktop).await;
    log_in(&browser, &world.two, OWNER).await;
    goto(&browser, &world.two, "/calendar/7?from=2026-12-28").await;
    browser.wait_for("return document.getElementById('calendar').dataset.opened").await;
    // The reading that the connection began with is over.
    tokio::time::sleep(Duration::from_secs(1)).await;
    browser.write(&format!("#e-{other}"), "12").await;
    browser.click("h1").await;
    let booked = owner.post("/api/shifts", &json!({ "slot_id": slot, "employee_id": people[0] })).await;
    assert_eq!(booked.status, 201);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let field = format!("document.getElementById('e-{other}')");
    assert_eq!(browser.script(&format!("return {field}.value")).await, "12");
    reads(&browser, &format!("#slot-{slot}"), "0 of 1").await;
    browser.script(&format!("{field}.focus(); {field}.value = ''; {field}.blur()")).await;
    reads(&browser, &format!("#slot-{slot}"), "Newcomer 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_phone_a_shift_is_booked_by_name_and_called_off_after_a_question() {
    let world = World::start(&[]);
    let owner = world.one.log_in(OWNER).await;
    let (people, slot) = (hire(&owner, 1).await, one_seat(&owner, "2026-12-30").await);
    let browser = Browser::open(Device::Phone).await;
    log_in(&browser, &world.two, OWNER).await;
    goto(&browser, &world.two, "/calendar/7?from=2026-12-30").await;
    browser.wait_for("return document.getElementById('calendar').dataset.opened").await;
    let row = format!("#slot-{slot}");
    let script =
        format!("return document.querySelector('{row} form button').getBoundingClientRect().right <= innerWidth");
    assert_eq!(browser.script(&script).await, Value::Bool(true), "the button is in sight");
    let script = "const main = document.getElementById('main'); return main.scrollWidth > main.clientWidth";
    assert_eq!(browser.script(script).await, Value::Bool(false), "nothing is to be scrolled sideways");
    // In one go each, since the page may be about to read itself anew.
    let book = async |whom: &str| {
        let script = "const field = document.getElementById('e-SLOT'); field.value = 'WHOM'; field.form.requestSubmit(); return field.checkValidity()";
        browser.script(&script.replace("SLOT", &slot.to_string()).replace("WHOM", whom)).await
    };
    assert_eq!(book("Newcomer").await, Value::Bool(false), "a name is to be chosen");
    book("999999").await;
    reads(&browser, "#says", "there is no employee 999999").await;
    browser.click("main a").await;
    browser.wait_for("return document.getElementById('calendar')?.dataset.opened").await;
    book(&people[0].to_string()).await;
    reads(&browser, &row, "Newcomer 0").await;

    let asked =
        format!("document.querySelector({})", json!(format!("{row} summary[aria-label='Call off Newcomer 0']")));
    browser.script(&format!("{asked}.click()")).await;
    // The question is not taken from under anybody's hands by what changes meanwhile.
    one_seat(&owner, "2026-12-31").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    reads(&browser, &row, "1 of 1").await;
    browser.click(&format!("{row} details[open] button")).await;
    reads(&browser, &row, "0 of 1").await;
    assert_eq!(browser.script(&format!("return {asked}")).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_101st_request_of_an_employee_is_refused_with_the_right_headers() {
    let world = World::start(&[]);
    let browser = Browser::open(Device::Desktop).await;
    log_in(&browser, &world.one, "employee-11").await;
    let script = "
        const answers = [];
        for (let i = 0; i < 102; i += 1) {
            const request = new XMLHttpRequest();
            request.open('GET', '/api/me', false);
            request.send();
            answers.push([request.status, request.getResponseHeader('ratelimit-limit'), request.getResponseHeader('retry-after')]);
        }
        return answers";
    let answers = browser.script(script).await;
    let answers = answers.as_array().expect("a list");
    // The page that the login leads to was the first of the hundred.
    let allowed = answers.iter().take_while(|answer| answer[0] == 200).count();
    assert!((97..100).contains(&allowed), "{answers:?}");
    assert!(answers.iter().skip(allowed).all(|answer| answer[0] == 429 && answer[1] == "100" && answer[2].is_string()));
    goto(&browser, &world.two, "/home").await;
    assert!(browser.page().await.contains("too many requests"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caches_own_page_is_for_managers() {
    let world = World::start(&[]);
    let browser = Browser::open(Device::Desktop).await;
    goto(&browser, &world.one, "/admin/cache/overview").await;
    browser.find("[name=login]").await;
    log_in(&browser, &world.one, "manager-1").await;
    goto(&browser, &world.two, "/manage").await;
    reads(&browser, "#jobs", "reminders").await;
    browser.click("nav a[href='/admin/cache']").await;
    browser.wait_for("return /Hits/.test(document.getElementById('facts').innerText)").await;
    let owner = world.one.log_in(OWNER).await;
    assert_eq!(owner.get("/admin/cache/overview").await.status, 403);
    assert_eq!(owner.get("/admin/cache/api/overview").await.status, 403);
}
