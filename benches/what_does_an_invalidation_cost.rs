//! What does invalidating a node cost, by the number of keys in Redis? Beside a `PING`.
//!
//! ```sh
//! cargo bench -p benches --bench what_does_an_invalidation_cost
//! ```
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use staleproof::{Cache, Key};
use test_support::{RedisServer, unique};

fn node(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut raw = runtime.block_on(client.get_multiplexed_async_connection()).expect("Redis is there");
    let connect = Cache::builder().namespace(unique("bench")).redis(server.url()).connect();
    let cache = runtime.block_on(connect).expect("Redis is there");
    let mut group = c.benchmark_group("invalidate a node");
    group.bench_function("PING, the floor", |b| {
        b.iter(|| runtime.block_on(redis::cmd("PING").query_async::<()>(&mut raw)).expect("PONG"));
    });
    let mut filled = 0_u32;
    for keys in [1_000, 100_000, 1_000_000_u32] {
        while filled < keys {
            let mut pipe = redis::pipe();
            for id in filled..filled + 1_000 {
                pipe.set(format!("other:{id}"), "x").ignore();
            }
            runtime.block_on(pipe.query_async::<()>(&mut raw)).expect("SET");
            filled += 1_000;
        }
        group.bench_with_input(BenchmarkId::new("among keys", keys), &keys, |b, _| {
            b.iter(|| runtime.block_on(cache.invalidate([Key::new("bench").arg(&7).into_node()])));
        });
    }
}

criterion_group!(benches, node);
criterion_main!(benches);
