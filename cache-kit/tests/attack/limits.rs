//! Limits.

use std::time::Duration;

use cache_kit::Quota;
use test_support::RedisServer;
use tokio::time::{Instant, sleep};

use crate::{Instance, LONG, in_memory};

#[tokio::test(flavor = "multi_thread")]
async fn a_number_and_its_text_are_two_keys() {
    let limiter = in_memory().limiter("api", Quota::new(1, LONG));
    assert!(limiter.check(&7).await.is_allowed);
    assert!(limiter.check("7").await.is_allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_limits_do_not_overflow() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    for kit in [&one.kit, &in_memory()] {
        let endless = kit.limiter("endless", Quota::new(1, Duration::MAX).burst(u32::MAX));
        assert!(endless.check(&1).await.is_allowed);
        assert!(!endless.check(&1).await.is_allowed);
        assert!(!endless.check_many(&1, u32::MAX).await.is_allowed);
        let many = kit.limiter("many", Quota::per_minute(u32::MAX));
        assert!(many.check(&1).await.is_allowed);
        assert!(!kit.limiter("few", Quota::per_minute(3)).check_many(&2, u32::MAX).await.is_allowed);
    }
}

/// A clock that was wrong and is put right does not lock anybody out.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_does_not_lock_out() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let limiter = one.kit.limiter("api", Quota::new(3, Duration::from_secs(1)));
    limiter.check(&1).await;
    // As if it had been written while the clock was an hour ahead.
    let ahead = (std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() + 3_600_000_000).to_string();
    server.cli(&["SET", "kit#limit:api:1", &ahead, "PX", "3600000"]);
    server.cli(&["DEL", "kit#limit:api:1:window"]);
    server.cli(&["LPUSH", "kit#limit:api:1:window", &ahead, &ahead, &ahead]);
    let refused = limiter.check(&1).await;
    assert!(refused.retry_after <= Duration::from_secs(1), "{refused:?}");
    sleep(Duration::from_millis(2_100)).await;
    assert!(limiter.check(&1).await.is_allowed);
}

/// Who waits as long as it was told is let in, in all kinds of quotas.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_told_is_let_in() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    for kit in [&one.kit, &in_memory()] {
        for (name, quota) in [
            ("window", Quota::new(7, Duration::from_secs(1))),
            ("spread", Quota::new(7, Duration::from_secs(1)).burst(2)),
            ("rate", Quota::new(7, Duration::from_secs(1)).burst(3).without_window()),
        ] {
            let limiter = kit.limiter(name, quota);
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(2_500) {
                let refused = limiter.check(&1).await;
                if !refused.is_allowed {
                    sleep(refused.retry_after).await;
                    let again = limiter.check(&1).await;
                    assert!(again.is_allowed, "{name}: {refused:?} {again:?}");
                }
            }
        }
    }
}
