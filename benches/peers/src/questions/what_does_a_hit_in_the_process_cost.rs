//! What does a hit in the process's memory cost, beside the others and beside a bare map?
//!
//! The key is `(u64, &str)`, built for each call; the value a list of 20 structs, in an `Arc` wherever the library shares values. By
//! one thread and by two, over 1,024 keys in random order and over a single one.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml what_does_a_hit_in_the_process_cost [rounds]
//! ```

use std::{convert::Infallible, hint::black_box, sync::Arc, time::Duration};

use crate::{
    Row, Rows, argument, rows, table,
    turns::{BATCH, Contender, Figures, Next, Setting, measure, now},
};
use hitbox_backend::format::BincodeFormat;
use multi_tier_cache::{
    CacheManager, CacheStrategy, CacheTier, L1Cache, MokaCacheConfig, serialization::CacheSerializer,
};
use staleproof::Cache;

const KEYS: u64 = 1_024;
const CAPACITY: usize = 4_096;
const TTL: Duration = Duration::from_secs(900);

struct Service {
    cache: Cache,
}

impl Service {
    #[staleproof::cached(ttl = "15m", key_prefix = "bench_rows")]
    async fn rows(&self, owner: u64, kind: &str) -> Rows {
        Arc::new(rows())
    }

    #[staleproof::cached(ttl = "15m", key_prefix = "bench_tagged", tags("owner:{owner}"))]
    async fn tagged(&self, owner: u64, kind: &str) -> Rows {
        Arc::new(rows())
    }
}

#[cached::macros::concurrent_cached(max_size = 4096, ttl_secs = 900)]
async fn cached_bounded(owner: u64, kind: String) -> Arc<Vec<Row>> {
    let _ = (owner, kind);
    Arc::new(rows())
}

#[cached::macros::concurrent_cached]
async fn cached_unbounded(owner: u64, kind: String) -> Arc<Vec<Row>> {
    let _ = (owner, kind);
    Arc::new(rows())
}

#[hitbox_fn::cached]
async fn hitbox_rows(owner: u64, kind: String) -> Vec<Row> {
    let _ = (owner, kind);
    rows()
}

/// The kind of rows, as no optimisation can know it.
fn kind() -> &'static str {
    black_box("active")
}

/// Does a batch of hits, each of which is this.
fn hits<T>(next: &mut Next, keys: u64, hit: impl AsyncFn(u64) -> T) {
    now(async {
        for _ in 0..BATCH {
            black_box(hit(next.key(keys)).await);
        }
    });
}

fn moka() -> moka::future::Cache<(u64, String), Rows> {
    moka::future::Cache::builder().max_capacity(CAPACITY as u64).time_to_live(TTL).build()
}

fn hitbox() -> hitbox_fn::Cache<hitbox_moka::MokaBackend<BincodeFormat>> {
    let backend = hitbox_moka::MokaBackend::builder().max_entries(CAPACITY as u64).value_format(BincodeFormat).build();
    let policy = hitbox::policy::PolicyConfig::builder().ttl(TTL).build();
    hitbox_fn::Cache::builder().backend(backend).policy(policy).build()
}

fn multi_tier() -> CacheManager {
    let memory = L1Cache::new(MokaCacheConfig::default()).expect("a configuration");
    let tier = CacheTier::new(Arc::new(memory), 1, false, 1, 1.0);
    let mut cache = CacheManager::new_with_tiers(vec![tier], None).expect("one tier");
    cache.set_serializer(CacheSerializer::Bincode(Default::default()));
    cache
}

pub fn run() {
    let rounds = argument(1, 15);
    let names: Vec<String> = (0..KEYS).map(|owner| format!("bench_rows:{owner}:active")).collect();
    let name = |key: u64| names[usize::try_from(key).expect("a small number")].as_str();
    let quick = quick_cache::sync::Cache::<String, Rows>::new(CAPACITY);
    let floor = papaya::HashMap::<String, Rows, _>::with_hasher(quick_cache::DefaultHashBuilder::default());
    for name in &names {
        quick.insert(name.clone(), Arc::new(rows()));
        floor.pin().insert(name.clone(), Arc::new(rows()));
    }
    let foyer: foyer::Cache<(u64, String), Rows> = foyer::CacheBuilder::new(CAPACITY).build();
    let (moka, hitbox, tiers) = (moka(), hitbox(), multi_tier());
    let service = Service { cache: Cache::memory() };
    let contenders = [
        Contender::new("papaya `get`, borrowed key: neither limit nor TTL (floor)", |next, keys| {
            hits(next, keys, async |key| floor.pin().get(name(key)).cloned());
        }),
        Contender::new("quick_cache `get`, borrowed key: limit, no TTL", |next, keys| {
            hits(next, keys, async |key| quick.get(name(key)));
        }),
        Contender::new("**staleproof**, limit and TTL", |next, keys| {
            hits(next, keys, async |key| service.rows(key, kind()).await);
        }),
        Contender::new("**staleproof**, with a tag", |next, keys| {
            hits(next, keys, async |key| service.tagged(key, kind()).await);
        }),
        Contender::new("cached, neither limit nor TTL", |next, keys| {
            hits(next, keys, async |key| cached_unbounded(key, kind().to_owned()).await);
        }),
        Contender::new("cached, limit and TTL", |next, keys| {
            hits(next, keys, async |key| cached_bounded(key, kind().to_owned()).await);
        }),
        Contender::new("foyer `get_or_fetch`, limit, no TTL", |next, keys| {
            hits(next, keys, async |key| {
                let load = || async { Ok::<_, Infallible>(Arc::new(rows())) };
                foyer.get_or_fetch(&(key, kind().to_owned()), load).await.expect("a load succeeds")
            });
        }),
        Contender::new("moka `get_with`, limit and TTL", |next, keys| {
            hits(next, keys, async |key| moka.get_with((key, kind().to_owned()), async { Arc::new(rows()) }).await);
        }),
        Contender::new("multi-tier-cache, moka only: decodes each time", |next, keys| {
            hits(next, keys, async |key| {
                let load = || async { Ok(rows()) };
                let hit = tiers.get_or_compute_typed::<Vec<Row>, _, _>(name(key), CacheStrategy::Custom(TTL), load);
                hit.await.expect("moka does not fail")
            });
        }),
        Contender::new("hitbox with moka: decodes each time", |next, keys| {
            hits(next, keys, async |key| hitbox_rows(key, kind().to_owned()).cache(&hitbox).await);
        }),
    ];
    compare(&contenders, rounds);
}

fn compare(contenders: &[Contender<'_>], rounds: usize) {
    // For foyer, whose loads are tasks of their own.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let columns = [(1, KEYS), (1, 1), (2, KEYS), (2, 1)];
    let figures = columns.map(|(threads, keys)| measure(contenders, Setting { threads, keys }, rounds));
    let lines: Vec<_> = contenders
        .iter()
        .enumerate()
        .map(|(at, contender)| {
            let cells = figures.iter().map(|column| column[at].to_string());
            std::iter::once(contender.name.to_owned()).chain(cells).collect()
        })
        .collect();
    table::print(
        &table::columns(["1 thread, 1,024 keys", "1 thread, 1 key", "2 threads, 1,024 keys", "2 threads, 1 key"]),
        &lines,
    );
    bars(contenders, &figures);
}

/// What was set as a goal for ours.
fn bars(contenders: &[Contender<'_>], [one, one_hot, two, two_hot]: &[Vec<Figures>; 4]) {
    let at = |part: &str| contenders.iter().position(|one| one.name.contains(part)).expect("a contender");
    let (ours, quick, cached) = (at("staleproof**, limit"), at("quick_cache"), at("cached, limit"));
    for (keys, one) in [("1,024 keys", one), ("1 key", one_hot)] {
        eprintln!("{keys}: {:.2} x the bare get (bar: 2.5)", one[ours].median() / one[quick].median());
        eprintln!("{keys}: {:.2} x cached with TTL and limit (bar: 0.65)", one[ours].median() / one[cached].median());
    }
    for (keys, one, two, bar) in [("1,024 keys", one, two, " (bar: 1.3)"), ("1 key", one_hot, two_hot, "")] {
        let of = |at: usize| two[at].median() / one[at].median();
        eprintln!(
            "{keys}, two threads: {:.2} x one thread{bar}; bare get {:.2}, papaya {:.2}",
            of(ours),
            of(quick),
            of(0)
        );
    }
}
