//! Members, invalidations and everything that may go wrong with the feed, at random: no member serves from its memory what an
//! invalidation had removed that had returned when the serving began.
//!
//! With the feature `__mutants` it also shows that it would notice if one of the checks were missing.

mod common;

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use cache_core::{
    Key, Outcome, Store, Target,
    store::{Acquired, Filled},
};
use cache_redis::RedisStore;
use common::{keeper::Keeper, *};
use test_support::{Proxy, RedisServer, unique};
use tokio::task::LocalSet;

const KEYS: usize = 6;

/// What is cached: of each key the version, and the one that the last finished invalidation was for.
#[derive(Default)]
struct Source {
    versions: [u64; KEYS],
    floors: [u64; KEYS],
    served: u64,
    applied: u64,
    stale: Option<String>,
}

/// A namespace with four members and two that only invalidate, one of them without the right to publish.
struct World {
    server: RedisServer,
    networks: Vec<Proxy>,
    namespace: String,
    keepers: Vec<Keeper>,
    writers: Vec<RedisStore>,
    source: RefCell<Source>,
    until: Instant,
}

fn key(number: usize) -> Key {
    page(7, i32::try_from(number).expect("a small number"))
}

impl World {
    async fn new(server: RedisServer, lasts: Duration) -> Self {
        let namespace = unique("feed");
        let (mut networks, mut keepers) = (Vec::new(), Vec::new());
        let at = |url: &str| config(url, &namespace).call_timeout(Duration::from_millis(250));
        for delay in 0..4 {
            let (network, url) = server.behind_proxy();
            network.delay(Duration::from_millis(delay));
            keepers.push(Keeper::connect(at(&url)).await);
            networks.push(network);
        }
        let keys = format!("~{namespace}:*");
        server.cli(&["ACL", "SETUSER", "mute", "on", ">hunter2", "resetchannels", &keys, "+@all"]);
        let mute = server.url().replace("redis://", "redis://mute:hunter2@");
        let mut writers = Vec::new();
        for url in [server.url(), mute] {
            writers.push(RedisStore::connect(at(&url)).await.expect("Redis is there"));
        }
        for keeper in &keepers {
            keeper.until_it_may_serve().await;
        }
        let (source, until) = (RefCell::default(), Instant::now() + lasts);
        Self { server, networks, namespace, keepers, writers, source, until }
    }

    fn is_over(&self) -> bool {
        Instant::now() > self.until || self.source.borrow().stale.is_some()
    }

    /// Serves from memory what may be served.
    fn serve(&self, number: usize, member: usize) -> bool {
        let mut source = self.source.borrow_mut();
        let Some(value) = self.keepers[member].memory.served(&key(number)) else { return false };
        let (version, floor) = (value.parse::<u64>().expect("a version was stored"), source.floors[number]);
        source.served += 1;
        if version < floor {
            let what = format!("member {member} served {version} of {number} after {floor} had been invalidated");
            source.stale.get_or_insert(what);
        }
        true
    }

    fn raise_floor(&self, number: usize, version: u64) {
        let floor = &mut self.source.borrow_mut().floors[number];
        *floor = version.max(*floor);
    }

    /// Reads as a service does, and fills what is missing.
    async fn read(&self, member: usize) {
        let number = fastrand::usize(..KEYS);
        if self.serve(number, member) || self.keepers[member].read(&key(number)).await.is_some() {
            return;
        }
        let (store, key) = (&self.keepers[member].store, key(number));
        if let Ok(Acquired::Lease(lease)) = store.acquire(&key, LOAD, Duration::from_millis(200)).await {
            let version = self.source.borrow().versions[number];
            tokio::task::yield_now().await;
            let filled = store.fill(&key, &lease, bytes(&version.to_string()), TTL).await;
            debug_assert!(!matches!(filled, Ok(Filled::Stored)) || version <= self.source.borrow().versions[number]);
        }
    }

    /// Whoever is mute has keys of its own: what the others announce would tell of its invalidations, too.
    async fn write(&self, store: &RedisStore, is_mute: bool) {
        let number = if is_mute { fastrand::usize(KEYS / 2..KEYS) } else { fastrand::usize(..KEYS / 2) };
        let (target, hit) = match fastrand::u8(..40) {
            0 => (Key::new("page").arg(&7).into_node(), 0..KEYS),
            1 => (Target::Glob("page:*".to_owned()), 0..KEYS),
            2 => (Target::All, 0..KEYS),
            _ => (key(number).into_entry(), number..number + 1),
        };
        let written: Vec<(usize, u64)> = hit
            .map(|number| {
                let version = &mut self.source.borrow_mut().versions[number];
                *version += 1;
                (number, *version)
            })
            .collect();
        if store.invalidate(&[target]).await.expect("it answers") == Outcome::Applied {
            self.source.borrow_mut().applied += 1;
            for (number, version) in written {
                self.raise_floor(number, version);
                for member in 0..self.keepers.len() {
                    self.serve(number, member);
                }
            }
        }
    }

    /// Breaks something, and perhaps repairs something else.
    fn meddle(&self) {
        let name = |path: &str| format!("{}:{path}", self.namespace);
        let network = &self.networks[fastrand::usize(..self.networks.len())];
        match fastrand::u8(..24) {
            0 => drop(self.server.cli(&["FLUSHALL"])),
            1..4 => drop(self.server.cli(&["DEL", &name("#members")])),
            4..7 => drop(self.server.cli(&["DEL", &name("#seq")])),
            7 => drop(self.server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"])),
            8 => drop(self.server.cli(&["SCRIPT", "FLUSH"])),
            9 => network.freeze(),
            10 => network.cut(),
            11 => network.delay(Duration::from_millis(fastrand::u64(..20))),
            12..16 => self.networks.iter().for_each(Proxy::resume),
            _ => {}
        }
    }
}

/// Runs for as long, or until something stale was served; tells which.
fn run(server: RedisServer, lasts: Duration) -> (World, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = runtime.block_on(World::new(server, lasts));
    let world = Rc::new(world);
    LocalSet::new().block_on(&runtime, async {
        let mut tasks = tokio::task::JoinSet::new();
        for member in 0..world.keepers.len() {
            for _ in 0..2 {
                let world = Rc::clone(&world);
                tasks.spawn_local(async move {
                    while !world.is_over() {
                        world.read(member).await;
                        tokio::time::sleep(Duration::from_micros(fastrand::u64(..2_000))).await;
                    }
                });
            }
        }
        for writer in 0..12 {
            let world = Rc::clone(&world);
            tasks.spawn_local(async move {
                while !world.is_over() {
                    let store = match writer {
                        0..2 => &world.writers[1],
                        2..6 => &world.writers[0],
                        _ => &world.keepers[writer % 4].store,
                    };
                    world.write(store, writer < 2).await;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(..60))).await;
                }
            });
        }
        while !world.is_over() {
            world.meddle();
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..300))).await;
        }
        world.networks.iter().for_each(Proxy::resume);
        while let Some(task) = tasks.join_next().await {
            task.expect("no task panics");
        }
    });
    drop(runtime);
    let world = Rc::into_inner(world).expect("all tasks are over");
    let stale = world.source.borrow_mut().stale.take();
    (world, stale)
}

#[test]
fn nothing_stale_is_served_from_memory() {
    let Some(server) = RedisServer::own() else { return };
    let lasts = std::env::var("STALEPROOF_FEED_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(12);
    let (world, stale) = run(server, Duration::from_secs(lasts));
    assert_eq!(stale, None);
    let source = world.source.borrow();
    println!("{} served, {} invalidations", source.served, source.applied);
    assert!(source.served > 100 && source.applied > 10, "{} served, {} applied", source.served, source.applied);
}

#[cfg(feature = "__mutants")]
#[test]
fn each_missing_check_is_noticed() {
    use cache_core::mutant::{Mutant, choose};

    for mutant in [Mutant::EarlyBarrier, Mutant::NoGapCheck] {
        let Some(server) = RedisServer::own() else { return };
        choose(Some(mutant));
        let began = Instant::now();
        let (_, stale) = run(server, Duration::from_secs(180));
        choose(None);
        println!("{mutant:?} after {:?}: {stale:?}", began.elapsed());
        assert!(stale.is_some(), "{mutant:?} was not noticed");
    }
}
