//! In a real Chromium, with Redis killed in the middle and back.

use std::time::Instant;

use test_support::browser::{Browser, Device};

use crate::{
    OWNER, World,
    browser::{goto, log_in, reads},
    world::PATIENCE,
};

#[tokio::test(flavor = "multi_thread")]
async fn who_was_logged_in_goes_on_without_redis_and_finds_it_all_when_redis_is_back() {
    let mut world = World::start(&[]);
    let browser = Browser::open(Device::Desktop).await;
    log_in(&browser, &world.one, OWNER).await;
    goto(&browser, &world.one, "/contracts/new").await;
    browser.click(".next").await;
    reads(&browser, "#step", "Step 2 of 4").await;

    world.redis.kill();
    browser.write("[name=name]", "Otto Outage").await;
    browser.write("[name=trade]", "guard").await;
    browser.click(".next").await;
    reads(&browser, "#step", "Step 3 of 4").await;
    world.until(false).await;
    goto(&browser, &world.two, "/home").await;
    reads(&browser, "#who", "(owner)").await;
    goto(&browser, &world.two, "/employees").await;
    reads(&browser, "#employees", "Name").await;
    goto(&browser, &world.one, "/contracts/new").await;
    reads(&browser, "#step", "Step 3 of 4").await;

    world.redis.restart();
    world.until(true).await;
    // What was said meanwhile is written back a moment later.
    let began = Instant::now();
    loop {
        goto(&browser, &world.two, "/contracts/new").await;
        let step = browser.text("#step").await;
        if step.contains("Step 3 of 4") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it is {step}");
    }
    browser.click(".next").await;
    reads(&browser, "#step", "Step 4 of 4").await;
    goto(&browser, &world.one, "/contracts/new").await;
    browser.click(".next").await;
    reads(&browser, "#employees", "Otto Outage").await;
    goto(&browser, &world.two, "/employees").await;
    reads(&browser, "#employees", "Otto Outage").await;
}
