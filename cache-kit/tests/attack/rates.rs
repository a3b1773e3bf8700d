//! Limits in Redis and in memory say the same, for random quotas and sequences, by the same clock.

use std::time::{Duration, Instant, SystemTime};

use cache_core::{Cache, Clock, ManualClock};
use cache_kit::{Kit, Quota};
use test_support::RedisServer;

/// The script, which is told the time.
fn script() -> String {
    let script = include_str!("../../src/script/limit.lua");
    assert_eq!(script.matches("redis.call('TIME')").count(), 1);
    script.replace("redis.call('TIME')", "{ ARGV[6], ARGV[7] }")
}

/// Whether it is allowed, when it would be, how many are left, and when all is free.
fn asked(server: &RedisServer, script: &str, name: &str, numbers: &[u64]) -> [u64; 4] {
    let window = format!("{name}:window");
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let mut arguments = vec!["EVAL", script, "2", name, &window];
    arguments.extend(numbers.iter().map(String::as_str));
    let reply = server.cli(&arguments);
    let numbers = reply.lines().filter(|line| !line.starts_with(['*', '$']));
    let numbers: Vec<u64> = numbers.filter_map(|line| line.trim().trim_start_matches(':').parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{reply}"))
}

#[tokio::test]
async fn memory_allows_what_redis_allows() {
    let (server, script) = (RedisServer::own().expect("there is a server to start"), script());
    let mut random = fastrand::Rng::with_seed(23);
    let epoch = 1_700_000_000_000_000_u64;
    for sequence in 0..60 {
        let (count, seconds) = (random.u32(1..12), random.u64(1..90));
        let (burst, has_window) = (random.u32(1..=2 * count), random.bool());
        let mut quota = Quota::new(count, Duration::from_secs(seconds)).burst(burst);
        quota = if has_window { quota } else { quota.without_window() };
        let clock = ManualClock::starting_at(Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_micros(epoch));
        let limiter = Kit::with_clock(&Cache::memory(), Clock::from(&clock)).limiter("same", quota);
        let (span, mut now, mut allowed) = (seconds * 1_000_000, epoch, Vec::new());
        let interval = span / u64::from(count);
        for _ in 0..120 {
            // Also to the microsecond when something is free again.
            let step = match random.u8(0..4) {
                0 => 0,
                1 => interval,
                2 => span,
                _ => random.u64(0..2 * interval),
            };
            clock.advance(Duration::from_micros(step));
            now += step;
            let cost = random.u32(0..4).max(u32::from(random.u8(0..10) > 0));
            let decision = limiter.check_many("ada", cost).await;
            let most = if has_window { u64::from(count) } else { 0 };
            let [secs, micros] = [now / 1_000_000, now % 1_000_000];
            let rate = [interval, interval * u64::from(burst), most, if has_window { span } else { 0 }, secs, micros];
            let numbers: Vec<u64> = std::iter::once(u64::from(cost)).chain(rate).collect();
            let there = asked(&server, &script, &format!("same:{sequence}"), &numbers);
            let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
            let left = u64::from(decision.remaining);
            let here = [decision.is_allowed.into(), micros(decision.retry_after), left, micros(decision.reset_after)];
            assert_eq!(here, there, "sequence {sequence}, {quota:?}, cost {cost}");
            if decision.is_allowed {
                allowed.push((now, u64::from(cost)));
            }
            if has_window {
                let within = allowed.iter().filter(|(time, _)| time + span > now).map(|(_, cost)| cost).sum::<u64>();
                assert!(within <= u64::from(count), "{within} within a span of {quota:?}");
            }
        }
    }
}
