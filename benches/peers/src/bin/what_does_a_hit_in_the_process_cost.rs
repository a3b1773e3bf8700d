//! What does a hit in the process's memory cost, beside the others and beside a bare map?
//!
//! The key is `(u64, &str)`, built for each call; the value an `Arc` of a list of 20 structs. By one thread and by two,
//! over 1,024 keys in random order and over a single one.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin what_does_a_hit_in_the_process_cost [rounds]
//! ```

use std::{hint::black_box, sync::Arc, time::Duration};

use peers::{BATCH, Contender, Row, Rows, Setting, measure, now, rows};
use staleproof::Cache;

const KEYS: u64 = 1_024;

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

/// The kind of rows, as no optimisation can know it.
fn kind() -> &'static str {
    black_box("active")
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(31, |rounds| rounds.parse().expect("a number of rounds"));
    let names: Vec<String> = (0..KEYS).map(|owner| format!("bench_rows:{owner}:active")).collect();
    let name = |key: u64| names[usize::try_from(key).expect("a small number")].as_str();
    let bare = quick_cache::sync::Cache::<String, Rows>::new(4096);
    let floor = papaya::HashMap::<String, Rows, _>::with_hasher(quick_cache::DefaultHashBuilder::default());
    let moka = moka::future::Cache::<(u64, String), Rows>::builder()
        .max_capacity(4096)
        .time_to_live(Duration::from_secs(900))
        .build();
    for name in &names {
        bare.insert(name.clone(), Arc::new(rows()));
        floor.pin().insert(name.clone(), Arc::new(rows()));
    }
    let service = Service { cache: Cache::memory() };
    let contenders = [
        Contender {
            name: "papaya get, borrowed key (floor)",
            batch: &|next, keys| {
                for _ in 0..BATCH {
                    black_box(floor.pin().get(name(next.key(keys))).cloned());
                }
            },
        },
        Contender {
            name: "quick_cache get, borrowed key",
            batch: &|next, keys| {
                for _ in 0..BATCH {
                    black_box(bare.get(name(next.key(keys))));
                }
            },
        },
        Contender {
            name: "cached, TTL and limit",
            batch: &|next, keys| {
                now(async {
                    for _ in 0..BATCH {
                        black_box(cached_bounded(next.key(keys), kind().to_owned()).await);
                    }
                });
            },
        },
        Contender {
            name: "cached, no TTL, no limit",
            batch: &|next, keys| {
                now(async {
                    for _ in 0..BATCH {
                        black_box(cached_unbounded(next.key(keys), kind().to_owned()).await);
                    }
                });
            },
        },
        Contender {
            name: "moka get_with, TTL and limit",
            batch: &|next, keys| {
                now(async {
                    for _ in 0..BATCH {
                        let key = (next.key(keys), kind().to_owned());
                        black_box(moka.get_with(key, async { Arc::new(rows()) }).await);
                    }
                });
            },
        },
        Contender {
            name: "staleproof",
            batch: &|next, keys| {
                now(async {
                    for _ in 0..BATCH {
                        black_box(service.rows(next.key(keys), kind()).await);
                    }
                });
            },
        },
        Contender {
            name: "staleproof, with a tag",
            batch: &|next, keys| {
                now(async {
                    for _ in 0..BATCH {
                        black_box(service.tagged(next.key(keys), kind()).await);
                    }
                });
            },
        },
    ];
    // Fills all of them; loads in memory wait for nothing either.
    for contender in &contenders {
        measure(std::slice::from_ref(contender), Setting { threads: 1, keys: KEYS }, 1);
    }
    let [one, one_hot, two, two_hot] = [(1, KEYS), (1, 1), (2, KEYS), (2, 1)]
        .map(|(threads, keys)| measure(&contenders, Setting { threads, keys }, rounds));
    println!("ns per hit and thread: median of {rounds} (middle 80 %)\n");
    println!(
        "{:<34} {:>20} {:>20} {:>20} {:>20}",
        "", "1 thread, 1,024 keys", "1 thread, 1 key", "2 threads, 1,024", "2 threads, 1 key"
    );
    for (at, contender) in contenders.iter().enumerate() {
        println!(
            "{:<34} {:>20} {:>20} {:>20} {:>20}",
            contender.name,
            one[at].to_string(),
            one_hot[at].to_string(),
            two[at].to_string(),
            two_hot[at].to_string()
        );
    }
    let at = |name: &str| contenders.iter().position(|contender| contender.name == name).expect("a contender");
    let (ours, quick, cached) = (at("staleproof"), at("quick_cache get, borrowed key"), at("cached, TTL and limit"));
    println!();
    for (keys, one) in [("1,024 keys", &one), ("1 key", &one_hot)] {
        println!("{keys}: {:.2} x the bare get (bar: 2.5)", one[ours].median() / one[quick].median());
        println!("{keys}: {:.2} x cached with TTL and limit (bar: 0.65)", one[ours].median() / one[cached].median());
    }
    for (keys, one, two, bar) in [("1,024 keys", &one, &two, " (bar: 1.3)"), ("1 key", &one_hot, &two_hot, "")] {
        let of = |at: usize| two[at].median() / one[at].median();
        println!(
            "{keys}, two threads: {:.2} x one thread{bar}; bare get {:.2}, papaya {:.2}",
            of(ours),
            of(quick),
            of(0)
        );
    }
}
