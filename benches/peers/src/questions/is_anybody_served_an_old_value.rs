//! Is anybody served a value from before an invalidation that has returned?
//!
//! 32 keys; 4 writers, each of which writes to the source, invalidates, and pauses 5 ms; 64 readers; a loader that takes 0 to
//! 5 ms after its read of the source. A violation is a read that began after an invalidation had returned and got a value
//! older than that write. Stuck: a key still old after all is quiet.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml is_anybody_served_an_old_value [seconds of each]
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    argument,
    subjects::{
        ByHand, CachedInMemory, CachedOnRedis, CachedTracking, CachedUnderOneLock, Foyer, Hitbox, Moka, MultiTier,
        Ours, Place, QuickCache, Source, Subject,
    },
    table::{self, thousands},
};
use staleproof::L1;
use test_support::{shared_url, unique};

const KEYS: u64 = 32;
const WRITERS: u64 = 4;
const READERS: usize = 64;

/// What the readers and writers of one race share.
struct Race {
    source: Arc<Source>,
    /// For each key the newest version whose invalidation has returned.
    floor: [AtomicU64; KEYS as usize],
    reads: AtomicU64,
    violations: AtomicU64,
    /// Invalidations that Redis did not answer in time: a promise to the instance only that asked.
    unanswered: AtomicU64,
    stop: AtomicBool,
}

impl Race {
    fn floor(&self, key: u64) -> &AtomicU64 {
        &self.floor[usize::try_from(key).expect("a small number")]
    }

    async fn write(&self, subject: impl Subject, writer: u64) {
        while !self.stop.load(Ordering::SeqCst) {
            // Each writer has keys of its own, so that its newest write is the key's newest.
            let key = fastrand::u64(..KEYS / WRITERS) * WRITERS + writer;
            let new = self.source.write(key);
            if subject.invalidate(key).await {
                self.floor(key).fetch_max(new, Ordering::SeqCst);
            } else {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn read(&self, subject: impl Subject) {
        while !self.stop.load(Ordering::SeqCst) {
            let key = fastrand::u64(..KEYS);
            let floor = self.floor(key).load(Ordering::SeqCst);
            let seen = subject.read(key).await;
            self.reads.fetch_add(1, Ordering::Relaxed);
            if seen < floor {
                self.violations.fetch_add(1, Ordering::Relaxed);
            }
            tokio::task::yield_now().await;
        }
    }
}

/// With nobody else there, and time for everything that is told afterwards, a read gets the new value. Otherwise it is set up wrong.
async fn check<S: Subject>(name: &str, source: &Source, instances: &[S]) {
    for subject in instances.iter().cycle().take(4) {
        for reader in instances {
            reader.read(0).await;
        }
        let new = source.write(0);
        subject.invalidate(0).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        for reader in instances {
            assert_eq!(reader.read(0).await, new, "{name}: old although nobody else is there");
        }
    }
}

/// The line of the table.
async fn race<S: Subject>(name: &str, source: Arc<Source>, instances: Vec<S>) -> Vec<String> {
    check(name, &source, &instances).await;
    let race = Arc::new(Race {
        source,
        floor: [const { AtomicU64::new(0) }; KEYS as usize],
        reads: AtomicU64::new(0),
        violations: AtomicU64::new(0),
        unanswered: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let instance = |at: usize| instances[at % instances.len()].clone();
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let (race, subject) = (Arc::clone(&race), instance(writer as usize));
        tasks.push(tokio::spawn(async move { race.write(subject, writer).await }));
    }
    for reader in 0..READERS {
        let (race, subject) = (Arc::clone(&race), instance(reader));
        tasks.push(tokio::spawn(async move { race.read(subject).await }));
    }
    tokio::time::sleep(Duration::from_secs_f64(argument(1, 2.0))).await;
    race.stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("no task panics");
    }
    let mut stuck = 0;
    for key in 0..KEYS {
        stuck += u64::from(instances[0].read(key).await < race.source.version(key));
    }
    let [reads, violations, unanswered] =
        [&race.reads, &race.violations, &race.unanswered].map(|count| count.load(Ordering::SeqCst));
    if unanswered > 0 {
        eprintln!("{name}: {unanswered} invalidations were not answered in time, and do not count");
    }
    let million = violations * 1_000_000 / reads.max(1);
    vec![name.to_owned(), thousands(reads), thousands(violations), thousands(million), format!("{stuck} of {KEYS}")]
}

fn place() -> Place {
    Place { url: shared_url(), space: unique("race"), source: Source::new(KEYS, 0..5_000) }
}

/// Runs the race for what this makes in a new place.
macro_rules! races {
    ($($name:literal: |$place:ident| [$($instance:expr),+]),+ $(,)?) => {
        vec![$({
            let $place = &place();
            let source = Arc::clone(&$place.source);
            race($name, source, vec![$($instance),+]).await
        }),+]
    };
}

pub async fn run() {
    let lines = races![
        "**staleproof** in memory": |place| [Ours::in_memory(place)],
        "**staleproof** on Redis, `l1 = \"off\"`": |place| [Ours::on_redis(place, L1::Off).await],
        "**staleproof** on Redis, two instances, `l1 = \"validated\"`": |place| [
            Ours::on_redis(place, L1::Validated).await, Ours::on_redis(place, L1::Validated).await
        ],
        "**staleproof** on Redis, two instances, `l1 = \"leased\"`": |place| [
            Ours::on_redis(place, L1::Leased).await, Ours::on_redis(place, L1::Leased).await
        ],
        "quick_cache `get_or_insert_async`": |place| [QuickCache::new(place)],
        "cached in memory, `sync_writes = true`": |place| [CachedUnderOneLock(Arc::clone(&place.source))],
        "cached in memory": |place| [CachedInMemory(Arc::clone(&place.source))],
        "moka `get_with`": |place| [Moka::new(place)],
        "foyer `get_or_fetch`": |place| [Foyer::new(place)],
        "multi-tier-cache, one instance": |place| [MultiTier::new(place).await],
        "multi-tier-cache, two instances": |place| [MultiTier::new(place).await, MultiTier::new(place).await],
        "hitbox on Redis, with its dogpile protection": |place| [Hitbox::with_dogpile_protection(place)],
        "hitbox on Redis, without": |place| [Hitbox::new(place)],
        "cached on Redis": |place| [CachedOnRedis::new(place)],
        "cached on Redis, client-side caching": |place| [CachedTracking::new(place)],
        "`GET`, `SET` and `DEL` by hand": |place| [ByHand::new(place).await],
    ];
    table::print(&table::columns(["reads", "violations", "per million reads", "stuck keys"]), &lines);
}
