//! The Redis store passes the suite of all stores.

use std::sync::Arc;

use cache_core::{Store, conformance};
use cache_redis::{RedisConfig, RedisStore};
use test_support::{shared_url, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_rules_of_stores() {
    conformance::run(|| async {
        let config = RedisConfig::new(shared_url()).namespace(unique("conformance")).require();
        Arc::new(RedisStore::connect(config).await.expect("Redis is there")) as Arc<dyn Store>
    })
    .await;
}
