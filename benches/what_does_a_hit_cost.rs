//! What does a hit cost? In memory beside a bare map, and on Redis beside a raw `GET` and decoding.
//!
//! ```sh
//! cargo bench -p benches --bench what_does_a_hit_cost
//! cargo bench -p benches --bench what_does_a_hit_cost --features metrics   # and a recorder installed
//! ```
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use std::{convert::Infallible, hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use staleproof::{Cache, Key, Policy, cached};
use test_support::{RedisServer, unique};

/// Twenty of these are about 1.2 KB encoded.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    id: u64,
    name: String,
    city: String,
    rate: f64,
    active: bool,
}

fn rows() -> Vec<Row> {
    (0..20)
        .map(|id| Row {
            id,
            name: format!("employee number {id:>6}"),
            city: "somewhere on the coast".into(),
            rate: 12.5,
            active: true,
        })
        .collect()
}

#[derive(Clone)]
struct Service {
    cache: Cache,
}

impl Service {
    #[cached(ttl = "15m", key_prefix = "bench_rows")]
    async fn rows(&self, owner: u64, kind: &str) -> Arc<Vec<Row>> {
        Arc::new(rows())
    }
}

fn in_memory(c: &mut Criterion) {
    #[cfg(feature = "metrics")]
    metrics_util::debugging::DebuggingRecorder::new().install().expect("there is no other");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("in memory");
    let map = quick_cache::sync::Cache::<String, Arc<Vec<Row>>>::new(4096);
    map.insert("bench_rows:7:active".to_owned(), Arc::new(rows()));
    group.bench_function("bare quick_cache get", |b| b.iter(|| map.get(black_box("bench_rows:7:active"))));
    let service = Service { cache: Cache::memory() };
    group.bench_function("through the attribute, Arc", |b| {
        b.to_async(&runtime).iter(|| service.rows(black_box(7), black_box("active")));
    });
    let (key, policy) = (Key::new("plain").arg(&7), Policy::new(Duration::from_secs(900)));
    group.bench_function("get_or_load, cloned", |b| {
        b.to_async(&runtime)
            .iter(|| async { service.cache.get_or_load(&key, &policy, async || Ok::<_, Infallible>(rows())).await });
    });
}

fn on_redis(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let server = RedisServer::start();
    let mut group = c.benchmark_group("on Redis, one task");
    let mut raw = runtime.block_on(async {
        let client = redis::Client::open(server.url()).expect("a URL");
        let mut raw = client.get_multiplexed_async_connection().await.expect("Redis is there");
        let () = raw.set("raw", postcard::to_stdvec(&rows()).expect("rows encode")).await.expect("SET");
        raw
    });
    group.bench_function("raw GET and postcard", |b| {
        b.iter(|| {
            let bytes: Vec<u8> = runtime.block_on(raw.get("raw")).expect("GET");
            postcard::from_bytes::<Vec<Row>>(&bytes).expect("rows decode")
        });
    });
    let connect = Cache::builder().namespace(unique("bench")).redis(server.url()).connect();
    let service = Service { cache: runtime.block_on(connect).expect("Redis is there") };
    group.bench_function("through the attribute, Arc", |b| {
        b.iter(|| runtime.block_on(service.rows(black_box(7), black_box("active"))));
    });
}

criterion_group!(benches, in_memory, on_redis);
criterion_main!(benches);
