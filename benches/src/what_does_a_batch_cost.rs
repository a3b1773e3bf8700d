//! What does a batch of ids cost, beside as many single calls at once? And does it overrun the bound on store calls?
//!
//! ```sh
//! cargo run --release -p benches --bin what_does_a_batch_cost
//! ```
//!
//! A value has 1.2 KB; the source answers at once. *Cold*: nothing is stored, so that each id is read, leased, loaded and stored.
//! *Warm*: all are hits. The bound on a call is the default, 50 ms; `late` counts the calls that overran it, of all rounds. The
//! medians are shown. `batches at once` have different ids each, so that they compete for the connection.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use staleproof::{Cache, cached};
use test_support::{RedisServer, unique};

const ROUNDS: usize = 7;

/// Twenty of these are about 1.2 KB encoded.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    id: u64,
    name: String,
    city: String,
    rate: f64,
    active: bool,
}

fn rows(id: u64) -> Vec<Row> {
    let row = |at| Row {
        id: id + at,
        name: format!("employee number {at:>6}"),
        city: "somewhere on the coast".into(),
        rate: 12.5,
        active: true,
    };
    (0..20).map(row).collect()
}

#[derive(Clone)]
struct Service {
    cache: Cache,
}

impl Service {
    #[cached(ttl = "15m", key_prefix = "bench_one")]
    async fn one(&self, id: u64) -> Option<Vec<Row>> {
        Some(rows(id))
    }

    #[cached(batch = Self::one)]
    async fn many(&self, ids: &[u64]) -> Vec<Option<Vec<Row>>> {
        ids.iter().map(|id| Some(rows(*id))).collect()
    }

    fn late(&self) -> u64 {
        self.cache.stats().total.store_errors
    }
}

async fn timed(work: impl Future<Output = ()>) -> Duration {
    let began = Instant::now();
    work.await;
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn single(service: &Service, ids: &[u64]) {
    let calls: Vec<_> = ids
        .iter()
        .map(|&id| {
            let service = service.clone();
            tokio::spawn(async move { service.one(id).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.expect("it ends").is_some());
    }
}

async fn batches(service: &Service, ids: &[u64], at_once: usize) {
    let calls: Vec<_> = ids
        .chunks(ids.len() / at_once)
        .map(|ids| {
            let (service, ids) = (service.clone(), ids.to_vec());
            tokio::spawn(async move { service.many(&ids).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.expect("it ends").iter().all(Option::is_some));
    }
}

#[derive(Clone, Copy)]
enum How {
    Single,
    Batches(usize),
}

async fn row(url: &str, ids: usize, how: How) {
    let mut times = [Vec::new(), Vec::new()];
    let mut late = 0;
    for _ in 0..ROUNDS {
        let connect = Cache::builder().namespace(unique("bench")).redis(url).connect();
        let service = Service { cache: connect.await.expect("Redis is there") };
        let ids: Vec<u64> = (0..ids as u64).collect();
        for times in &mut times {
            times.push(match how {
                How::Single => timed(single(&service, &ids)).await,
                How::Batches(at_once) => timed(batches(&service, &ids, at_once)).await,
            });
        }
        late += service.late();
    }
    let name = match how {
        How::Single => "single calls at once".to_owned(),
        How::Batches(1) => "one batch".to_owned(),
        How::Batches(at_once) => format!("{at_once} batches at once"),
    };
    let [cold, warm] = times.map(|times| median(times).as_secs_f64() * 1e3);
    println!("{ids:>7} ids  {name:<22} {cold:>9.2} ms cold {warm:>9.2} ms warm {late:>7} late");
}

#[tokio::main]
async fn main() {
    let server = RedisServer::start();
    for ids in [10, 100, 1_000, 10_000] {
        row(&server.url(), ids, How::Single).await;
        row(&server.url(), ids, How::Batches(1)).await;
    }
    for at_once in [4, 16] {
        row(&server.url(), 40_000, How::Batches(at_once)).await;
    }
}
