//! A store that is away shows on the pages, and breaks none of them.

use std::time::Duration;

use axum::http::StatusCode;
use test_support::RedisServer;

use crate::{
    client::get,
    support::{READER, Service, WRITER},
};

#[tokio::test]
async fn an_outage_is_shown_and_breaks_nothing() {
    let mut redis = RedisServer::start();
    let service = Service::over(&redis).await;
    service.page(1, 1).await;
    let router = service.router();
    assert!(get(&router, "/overview", READER).await.body.contains("badge good\">connected"));
    redis.kill();
    let began = std::time::Instant::now();
    while get(&router, "/api/health", READER).await.json()["state"] != "degraded" {
        assert!(began.elapsed() < Duration::from_secs(30), "it is not noticed");
        service.page(1, 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for path in ["/overview", "/functions", "/map", "/doctor", "/events", "/invalidate"] {
        let page = get(&router, path, WRITER).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.body.contains("The store has been out of reach for"), "{path}: {}", page.body);
    }
    for path in ["/keys", "/key?name=page:1:1", "/api/keys", "/api/key?name=page:1:1", "/api/preview?kind=all"] {
        let page = get(&router, path, READER).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(page.body.contains("out of reach"), "{path}: {}", page.body);
    }
    let preview = get(&router, "/invalidate?kind=node&target=page:1", WRITER).await;
    assert_eq!(preview.status, StatusCode::OK);
    assert!(preview.body.contains("It can be invalidated all the same."), "{}", preview.body);
    assert_eq!(get(&router, "/api/overview", READER).await.json()["servers"], serde_json::Value::Null);
    redis.restart();
}
