//! The same as JSON.

use std::time::Duration;

use axum::http::{StatusCode, header};
use test_support::RedisServer;

use crate::{
    client::get,
    support::{READER, Service},
};

#[tokio::test]
async fn what_the_pages_show_is_there_as_json() {
    let redis = RedisServer::start();
    let service = Service::over(&redis).await;
    let router = service.router();
    for _ in 0..4 {
        service.page(1, 1).await;
    }
    let ask = async |path: &str| {
        let answer = get(&router, path, READER).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json", "{path}");
        answer.json()
    };
    let stats = ask("/api/stats").await;
    assert_eq!((&stats["hits"], &stats["misses"], &stats["hit_rate"]), (&3.into(), &1.into(), &0.75.into()));
    assert_eq!(ask("/api/health").await["state"], "connected");
    let functions = ask("/api/functions?sort=name").await;
    let page = &functions[0];
    assert_eq!((&page["name"], &page["hits"], &page["ttl"]), (&"page".into(), &3.into(), &"15m".into()));
    assert_eq!((&page["orphan"], &page["entries"]["counted"]), (&false.into(), &1.into()));
    assert!(page["saved_seconds"].as_f64().is_some_and(|saved| saved > 0.0), "{page}");

    let map = ask("/api/map").await;
    assert_eq!((map["functions"].as_array().map(Vec::len), &map["orphans"]), (Some(2), &serde_json::json!([])));
    let keys = ask("/api/keys?match=page").await;
    assert_eq!((&keys["items"][0]["path"], &keys["items"][0]["codec"]), (&"page:1:1".into(), &"json".into()));
    assert!(keys["items"][0]["ttl_ms"].as_u64().is_some_and(|ttl| ttl > 700_000), "{keys}");
    let key = ask("/api/key?name=page:1:1").await;
    assert_eq!((&key["value"], &key["parts"]), (&serde_json::json!([1, 1]), &serde_json::json!(["page", "1", "1"])));
    assert_eq!(ask("/api/preview?kind=node&target=page:1").await["count"], 1);
    assert!(ask("/api/doctor").await["findings"].is_array());
    let overview = ask("/api/overview").await;
    assert!(overview["servers"][0]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{overview}");
    let missing = get(&router, "/api/key?name=page:9:9", READER).await;
    assert_eq!((missing.status, missing.json()["error"].is_string()), (StatusCode::NOT_FOUND, true));
}

#[tokio::test]
async fn the_history_follows_the_calls() {
    let service = Service::in_memory();
    let router = service.router();
    let began = std::time::Instant::now();
    loop {
        service.page(1, 1).await;
        let history = get(&router, "/api/history", READER).await.json();
        let hits: u64 = history.as_array().expect("a list").iter().filter_map(|one| one["hits"].as_u64()).sum();
        if hits > 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no sample shows a hit: {history}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_router_that_is_built_outside_of_a_runtime_samples_all_the_same() {
    let service = Service::in_memory();
    let router = service.router();
    // Twice, since the task goes with its runtime.
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let length = async || get(&router, "/api/history", READER).await.json().as_array().map_or(0, Vec::len);
            let (before, began) = (length().await, std::time::Instant::now());
            while length().await <= before {
                assert!(began.elapsed() < Duration::from_secs(30), "no samples");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
}

#[tokio::test]
async fn nothing_outlives_the_router() {
    let service = Service::in_memory();
    let (router, mut events) = (service.router(), service.cache.events());
    get(&router, "/overview", READER).await;
    drop((service, router));
    let end = async { while events.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(30), end).await.expect("the sampler has let go of the cache");
}
