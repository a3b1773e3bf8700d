//! The Redis store passes the suite of all stores, over one server and over a cluster.

use std::{sync::Arc, time::Duration};

use cache_core::{Store, conformance};
use cache_redis::{RedisConfig, RedisStore};
use test_support::{ClusterOptions, ClusterServers, shared_url, unique};

async fn run_at(url: String) {
    conformance::run(move || {
        let config = RedisConfig::new(url.clone()).namespace(unique("conformance")).require();
        // The rules are not about time: on a busy machine a call may well take longer than the ordinary bound.
        let config = config.call_timeout(Duration::from_secs(5));
        async { Arc::new(RedisStore::connect(config).await.expect("Redis is there")) as Arc<dyn Store> }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_rules_of_stores() {
    run_at(shared_url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_rules_of_stores() {
    let Some(cluster) = ClusterServers::start(ClusterOptions { replicas: 0, ..Default::default() }) else { return };
    run_at(cluster.url()).await;
}
