//! Jobs.

use std::{sync::Arc, time::Duration};

use cache_kit::Schedule;
use test_support::RedisServer;
use tokio::time::{Instant, sleep};

use crate::{Instance, LONG, PATIENCE, in_memory, text};

#[tokio::test(flavor = "multi_thread")]
async fn states_of_a_service_are_not_those_of_its_jobs() {
    let kit = in_memory();
    let jobs = kit.jobs().job("tick", Schedule::every(Duration::from_secs(1)), |_| async { Ok::<(), String>(()) });
    let own = kit.states("job").ttl(LONG).build::<String, u64>();
    own.put(&text("tick"), &5).await.unwrap();
    let task = tokio::spawn(jobs.clone().run());
    let began = Instant::now();
    while jobs.reports().await.unwrap()[0].1.runs == 0 {
        assert!(began.elapsed() < PATIENCE, "it never runs");
        sleep(Duration::from_millis(20)).await;
    }
    task.abort();
    assert_eq!(own.get(&text("tick")).await.unwrap(), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_while_redis_was_lost_is_made_up_for() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ran = Arc::clone(&runs);
    let jobs =
        one.kit.jobs().lasts(Duration::from_secs(2)).job("tick", Schedule::every(Duration::from_secs(5)), move |run| {
            ran.lock().unwrap().push(run.due);
            async { Ok::<(), String>(()) }
        });
    let task = tokio::spawn(jobs.clone().run());
    let began = Instant::now();
    while runs.lock().unwrap().is_empty() {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_millis(300)).await;
    let count = jobs.reports().await.unwrap()[0].1.runs;
    assert_eq!(count, 1);
    server.kill();
    one.waits(false).await;
    // One time goes by, and is 500 ms past when Redis comes back, empty.
    sleep(Duration::from_millis(5_500)).await;
    server.remove_dump();
    server.restart();
    one.waits(true).await;
    let back = chrono::Utc::now();
    let began = Instant::now();
    while runs.lock().unwrap().len() < 2 {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    let runs = runs.lock().unwrap().clone();
    task.abort();
    assert!(runs[1] > runs[0] && runs[1] <= back, "one that was missed: {runs:?}, back at {back}");
}

#[test]
#[should_panic(expected = "tick")]
fn two_jobs_of_one_name_are_refused() {
    let every = || Schedule::every(Duration::from_secs(1));
    let ok = |_| async { Ok::<(), String>(()) };
    drop(in_memory().jobs().job("tick", every(), ok).job("tick", every(), ok));
}

#[test]
fn schedules_bear_odd_spans() {
    let now = "2026-03-01T09:00:00Z".parse().unwrap();
    assert!(Schedule::Every(Duration::ZERO).after(now) > Some(now));
    assert!(Schedule::every(Duration::MAX).after(now).is_none());
    let began = std::time::Instant::now();
    assert!(Schedule::cron("0 0 30 2 *").unwrap().after(now).is_none());
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[test]
fn a_bad_expression_says_what_is_wrong() {
    for bad in ["", "* * * *", "61 * * * *", "every day", "0 25 * * *"] {
        let error = Schedule::cron(bad).unwrap_err();
        println!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default());
    }
}

/// Due times are whole seconds, the same whenever they are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_by_cron_run() {
    let every_second = Schedule::cron("* * * * * *").unwrap();
    let daily = Schedule::cron("0 9 * * *").unwrap();
    let next = |schedule: &Schedule, moment: &str| schedule.after(moment.parse().unwrap()).unwrap().to_rfc3339();
    assert_eq!(next(&every_second, "2026-03-01T08:59:59.9Z"), "2026-03-01T09:00:00+00:00");
    assert_eq!(next(&daily, "2026-03-01T08:59:59.9Z"), "2026-03-01T09:00:00+00:00");
    assert_eq!(next(&daily, "2026-03-01T09:00:00.1Z"), "2026-03-02T09:00:00+00:00");
    // What clocks are set to elsewhere does not matter.
    assert_eq!(next(&daily, "2026-03-29T00:30:00.5Z"), "2026-03-29T09:00:00+00:00");
    let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ran = Arc::clone(&runs);
    let jobs = in_memory().jobs().job("tick", every_second, move |run| {
        ran.lock().unwrap().push(run.due);
        async { Ok::<(), String>(()) }
    });
    let task = tokio::spawn(jobs.run());
    let began = Instant::now();
    while runs.lock().unwrap().len() < 3 {
        assert!(began.elapsed() < PATIENCE, "{:?}", runs.lock().unwrap());
        sleep(Duration::from_millis(20)).await;
    }
    task.abort();
    assert!(runs.lock().unwrap().iter().all(|due| due.timestamp_subsec_nanos() == 0));
}

/// One instance at a time, also where it takes longer than the interval, and again where that died.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_job_runs_in_one_instance_and_again_after_a_crash() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let inside = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tasks: Vec<_> = [("one", &one), ("other", &other)]
        .map(|(name, it)| {
            let (inside, runs) = (Arc::clone(&inside), Arc::clone(&runs));
            let jobs = it.kit.jobs().instance(name).lasts(Duration::from_secs(1));
            let every = Schedule::every(Duration::from_secs(1));
            tokio::spawn(
                jobs.job("long", every, move |run| {
                    let (inside, runs) = (Arc::clone(&inside), Arc::clone(&runs));
                    async move {
                        struct Leaves(Arc<std::sync::atomic::AtomicU32>);
                        impl Drop for Leaves {
                            fn drop(&mut self) {
                                self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            }
                        }
                        let count = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                        let _leaves = Leaves(inside);
                        runs.lock().unwrap().push((run.due, name, count));
                        sleep(Duration::from_millis(2_500)).await;
                        Ok::<(), String>(())
                    }
                })
                .run(),
            )
        })
        .into();
    let began = Instant::now();
    while runs.lock().unwrap().len() < 3 {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    // Whoever runs it now dies.
    let (due, who, _) = *runs.lock().unwrap().last().unwrap();
    tasks[usize::from(who == "other")].abort();
    let count = runs.lock().unwrap().len();
    while runs.lock().unwrap().len() == count {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    let runs = runs.lock().unwrap().clone();
    assert_eq!((runs[count].0, runs[count].1 == who), (due, false), "{runs:?}");
    assert!(runs.iter().all(|(.., count)| *count == 1), "{runs:?}");
    for task in tasks {
        task.abort();
    }
}

/// What a clock has done that was a year ahead does not stop a job for a year.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_after_a_clock_was_ahead() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    for kit in [&one.kit, &in_memory()] {
        let ahead = chrono::Utc::now() + chrono::TimeDelta::days(365);
        let mut report = cache_kit::JobReport::default();
        (report.due, report.began, report.ended) = (Some(ahead), Some(ahead), Some(ahead));
        kit.states("#job").ttl(LONG).build::<String, cache_kit::JobReport>().put(&text("tick"), &report).await.unwrap();
        let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
        let ran = Arc::clone(&runs);
        let jobs = kit.jobs().job("tick", Schedule::every(Duration::from_secs(2)), move |run| {
            ran.lock().unwrap().push(run.due);
            async { Ok::<(), String>(()) }
        });
        let task = tokio::spawn(jobs.clone().run());
        let began = Instant::now();
        while runs.lock().unwrap().len() < 2 {
            assert!(began.elapsed() < PATIENCE, "it is not done: {:?}", jobs.reports().await);
            sleep(Duration::from_millis(20)).await;
        }
        task.abort();
        assert!(runs.lock().unwrap().iter().all(|due| *due < ahead));
    }
}

/// A panic and a failure end a run, and neither the schedule nor its lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_panics_or_fails_is_done_the_next_time() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let runs = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let jobs = [&one, &other].map(|it| {
        let runs = Arc::clone(&runs);
        it.kit.jobs().job("odd", Schedule::every(Duration::from_secs(1)), move |_| {
            let run = runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert!(run != 0, "on the spot");
            async move {
                assert!(run != 1, "on the way");
                if run == 2 { Err(text("no")) } else { Ok(()) }
            }
        })
    });
    let tasks = jobs.clone().map(|jobs| tokio::spawn(jobs.run()));
    let began = Instant::now();
    let report = loop {
        let report = jobs[0].reports().await.unwrap().remove(0).1;
        if report.runs >= 4 && report.ended.is_some() {
            break report;
        }
        assert!(began.elapsed() < PATIENCE, "{report:?}");
        sleep(Duration::from_millis(20)).await;
    };
    for task in tasks {
        task.abort();
    }
    assert_eq!((report.failures, report.failure), (3, None));
    assert_eq!(report.runs, runs.load(std::sync::atomic::Ordering::SeqCst), "each is done once");
}
