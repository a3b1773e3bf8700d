//! What the blocks publish: in one process, and over a real Redis that is killed and comes back.

use std::{collections::BTreeMap, time::Duration};

use cache_core::Cache;
use cache_kit::{Kit, Quota, States, Topic, Verdict};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use test_support::{RedisServer, unique};

/// A recorder of this thread, on which a test and its tasks run.
struct Recorded {
    recorder: PrometheusHandle,
    _here: metrics::LocalRecorderGuard<'static>,
}

impl Recorded {
    fn new() -> Self {
        let recorder: &PrometheusRecorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self { recorder: recorder.handle(), _here: metrics::set_default_local_recorder(recorder) }
    }

    /// All series as `name{values of its labels}`, without the namespace. Of times, their number.
    fn all(&self, namespace: &str) -> BTreeMap<String, f64> {
        let page = self.recorder.render();
        let namespace = format!("namespace=\"{namespace}\",");
        let series = page.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("staleproof_kit_")?.split_once('{')?;
            let (labels, value) = rest.strip_prefix(&namespace).expect("its namespace comes first").split_once("} ")?;
            let values: Vec<_> = labels.split('"').skip(1).step_by(2).collect();
            Some((format!("{name}{{{}}}", values.join(",")), value.parse().ok()?))
        });
        series.collect()
    }

    fn expect(&self, namespace: &str, expected: &[(&str, f64)]) {
        let all = self.all(namespace);
        for (name, count) in expected {
            assert_eq!(all.get(*name), Some(count), "{name} in {all:#?}");
        }
    }
}

#[tokio::test]
async fn each_block_counts_its_calls_by_what_comes_of_them() {
    let recorded = Recorded::new();
    let cache = Cache::builder().namespace("told").build().expect("it is in memory");
    let kit = Kit::of(&cache);

    let states: States<u64, String> = kit.states("drafts").ttl(Duration::from_secs(60)).build();
    states.put(&1, &"one".to_owned()).await.unwrap();
    states.get(&1).await.unwrap();
    states.get(&2).await.unwrap();
    states.update(&1, |_| Some("two".to_owned())).await.unwrap();
    states.take(&1).await.unwrap();
    states.take(&1).await.unwrap();

    let codes = kit.codes("login");
    let code = codes.issue("ada").await.unwrap();
    assert!(matches!(codes.verify("ada", "no").await.unwrap(), Verdict::Wrong { .. }));
    assert_eq!(codes.verify("ada", &code).await.unwrap(), Verdict::Accepted);
    assert_eq!(codes.verify("ada", &code).await.unwrap(), Verdict::Unknown);

    let limiter = kit.limiter("api", Quota::per_minute(2));
    for _ in 0..5 {
        limiter.check("ada").await;
    }

    let locks = kit.locks("slot");
    let guard = locks.try_acquire(&7).await.unwrap();
    locks.try_acquire(&7).await.expect_err("it is held");
    drop(tokio::time::timeout(Duration::from_millis(20), locks.acquire(&7, Duration::from_secs(60))).await);
    guard.release().await;

    let topic: Topic<u64> = kit.topic("news");
    topic.publish(&7).await.unwrap();
    let places = kit.places::<u64>("objects");
    places.put(&1, 13.4, 52.5).await.unwrap();
    places.nearest(13.4, 52.5, 1).await.unwrap();

    recorded.expect(
        "told",
        &[
            ("calls_total{state,drafts,put,ok,everywhere}", 1.0),
            ("calls_total{state,drafts,get,found,everywhere}", 1.0),
            ("calls_total{state,drafts,get,absent,everywhere}", 1.0),
            ("calls_total{state,drafts,update,ok,everywhere}", 1.0),
            ("calls_total{state,drafts,take,found,everywhere}", 1.0),
            ("calls_total{state,drafts,take,absent,everywhere}", 1.0),
            ("call_duration_seconds_count{state,drafts,take}", 2.0),
            ("calls_total{code,login,issue,issued,everywhere}", 1.0),
            ("calls_total{code,login,verify,wrong,everywhere}", 1.0),
            ("calls_total{code,login,verify,accepted,everywhere}", 1.0),
            ("calls_total{code,login,verify,unknown,everywhere}", 1.0),
            ("calls_total{limit,api,check,allowed,everywhere}", 2.0),
            ("calls_total{limit,api,check,refused,everywhere}", 3.0),
            ("calls_total{lock,slot,acquire,held,everywhere}", 1.0),
            ("calls_total{lock,slot,acquire,taken,everywhere}", 1.0),
            ("calls_total{lock,slot,acquire,cancelled,none}", 1.0),
            ("calls_total{topic,news,publish,sent,everywhere}", 1.0),
            ("calls_total{places,objects,put,ok,everywhere}", 1.0),
            ("calls_total{places,objects,search,ok,everywhere}", 1.0),
        ],
    );
}

#[tokio::test]
async fn jobs_tell_how_they_ended_and_when_they_were_done_last() {
    let recorded = Recorded::new();
    let cache = Cache::builder().namespace("told").build().expect("it is in memory");
    let often = || cache_kit::Schedule::every(Duration::from_millis(20));
    let jobs = Kit::of(&cache).jobs();
    let jobs = jobs.job("good", often(), |_| async { Ok::<_, String>(()) });
    let jobs = jobs.job("bad", often(), |_| async { Err("no".to_owned()) });
    let running = tokio::spawn(jobs.run());
    loop {
        let all = recorded.all("told");
        let count = |name: &str| all.get(name).copied().unwrap_or_default();
        if count("calls_total{job,good,run,done,everywhere}") > 0.0
            && count("calls_total{job,bad,run,failed,everywhere}") > 0.0
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.abort();
    let all = recorded.all("told");
    assert!(all["job_last_success_timestamp_seconds{job,good}"] > 1_700_000_000.0, "{all:#?}");
    assert!(!all.contains_key("job_last_success_timestamp_seconds{job,bad}"), "{all:#?}");
}

#[tokio::test]
async fn an_outage_shows_in_the_scope_in_what_waits_and_in_gaps() {
    let recorded = Recorded::new();
    let mut server = RedisServer::own().expect("a Redis of the test's own");
    let namespace = unique("kit-metrics");
    let cache = Cache::builder().namespace(&*namespace).redis(server.url()).connect().await.expect("Redis answers");
    let kit = Kit::of(&cache);
    let states: States<u64, u64> = kit.states("drafts").ttl(Duration::from_secs(60)).build();
    states.put(&1, &1).await.unwrap();
    let mut heard = kit.topic::<u64>("news").subscribe().await;

    server.kill();
    states.put(&1, &2).await.unwrap();
    assert_eq!(states.get(&1).await.unwrap(), Some(2));
    states.get(&9).await.expect_err("nobody here knows it");
    kit.limiter("api", Quota::per_minute(2)).check("ada").await;
    recorded.expect(
        &namespace,
        &[
            ("calls_total{state,drafts,put,ok,everywhere}", 1.0),
            ("calls_total{state,drafts,put,ok,this_instance}", 1.0),
            ("calls_total{state,drafts,get,found,this_instance}", 1.0),
            ("calls_total{state,drafts,get,error,none}", 1.0),
            ("calls_total{limit,api,check,allowed,this_instance}", 1.0),
            ("waiting{state,drafts}", 1.0),
        ],
    );

    server.restart();
    assert_eq!(heard.next().await, Some(cache_kit::Heard::Gap));
    while states.waiting() > 0 || recorded.all(&namespace)["waiting{state,drafts}"] > 0.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(recorded.all(&namespace)["events_total{topic,news,gap}"] > 0.0);
}

/// Also where a later writing went to Redis before what waited did.
#[tokio::test]
async fn what_waits_no_more_is_told() {
    let recorded = Recorded::new();
    let mut server = RedisServer::own().expect("a Redis of the test's own");
    let namespace = unique("kit-metrics");
    let cache = Cache::builder().namespace(&*namespace).redis(server.url()).connect().await.expect("Redis answers");
    let states: States<u64, u64> = Kit::of(&cache).states("drafts").ttl(Duration::from_secs(60)).build();
    for round in 0..5 {
        server.kill();
        while states.put(&1, &round).await.unwrap() == cache_kit::Scope::Everywhere {}
        recorded.expect(&namespace, &[("waiting{state,drafts}", 1.0)]);
        server.restart();
        while states.put(&1, &round).await.unwrap() == cache_kit::Scope::ThisInstance {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        recorded.expect(&namespace, &[("waiting{state,drafts}", 0.0)]);
    }
}
