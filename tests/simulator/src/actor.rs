//! Readers and writers.

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, Health, Key, Outcome, Policy, Tag, Target, cache};

use crate::world::{Scene, World};

/// How long a value that was loaded in degraded mode lives, in milliseconds.
pub(crate) const DEGRADED_TTL: u64 = 150;

/// One instance of the service.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) id: u64,
    pub(crate) cache: Cache,
}

impl Instance {
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.cache.health(), Health::Degraded { .. })
    }
}

/// What an actor needs.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) scene: Arc<Scene>,
}

/// How a key's values live: most outlive the run's faults, some expire, some are refreshed early, some serve after an error.
fn policy(key: usize) -> Policy {
    let policy = Policy::new(Duration::from_secs(600));
    match key % 4 {
        1 => Policy::new(Duration::from_millis(100)).stale_if_error(Duration::from_millis(900)),
        2 => Policy::new(Duration::from_millis(800)).refresh_ahead(4.0),
        3 => Policy::new(Duration::from_millis(100)).stale_if_error(Duration::from_millis(900)).refresh_ahead(2.0),
        _ => policy,
    }
}

/// Reads one key once, and has what it got checked.
pub(crate) async fn read(stage: Stage, instance: Instance, number: usize, mut random: fastrand::Rng) {
    let Stage { world, scene } = stage;
    let key = scene.keys[number].clone();
    let ticket = {
        let mut shared = world.lock();
        shared.count("reader", 1);
        shared.trace(|| format!("instance {} reads {key}", instance.id));
        shared.checker.begin(instance.id, number, shared.now)
    };
    let policy = policy(number);
    let loading = world.clone();
    let (name, id) = (key.as_str().to_owned(), instance.id);
    let loaded = instance
        .cache
        .get_or_load(&key, &policy, async move || {
            let began = loading.lock().now;
            loading.step(id, "load").await;
            let version = loading.lock().source[number];
            loading.trace(|| format!("  the source says {version} for {name}"));
            let long = if random.f64() < 0.1 { 24 } else { 4 };
            for _ in 0..random.u32(0..long) {
                loading.step(id, "think").await;
            }
            let mut shared = loading.lock();
            shared.longest_load = shared.longest_load.max(shared.now - began);
            if random.f64() < 0.12 { Err(()) } else { Ok((number, version)) }
        })
        .await;
    let mut shared = world.lock();
    shared.trace(|| format!("instance {} got {loaded:?} for {key}, asked at {}", instance.id, ticket.began));
    match loaded {
        Ok((of, version)) => {
            let grace = DEGRADED_TTL + shared.longest_load + 2;
            shared.checker.end(&ticket, version, instance.is_down(), grace);
            if of != number || version > shared.source[number] {
                let what = format!("{key} was answered with version {version} of key {of}");
                shared.checker.fail(number, what);
            }
            shared.count("value checked", 1);
        }
        Err(()) => shared.count("error of the source", 1),
    }
}

/// Reads several keys by one batch, some of them twice, and has what it got checked.
pub(crate) async fn read_many(stage: Stage, instance: Instance, numbers: Vec<usize>, mut random: fastrand::Rng) {
    let Stage { world, scene } = stage;
    let keys: Vec<_> = numbers.iter().map(|number| scene.keys[*number].clone()).collect();
    let tickets: Vec<_> = {
        let mut shared = world.lock();
        shared.count("reader by a batch", 1);
        shared.trace(|| format!("instance {} reads by a batch {numbers:?}", instance.id));
        let now = shared.now;
        numbers.iter().map(|number| shared.checker.begin(instance.id, *number, now)).collect()
    };
    let policy = policy(numbers[random.usize(..numbers.len())]);
    let id = instance.id;
    let load = |missing: Vec<usize>| {
        let (loading, mut random) = (world.clone(), random.fork());
        let asked: Vec<usize> = missing.into_iter().map(|place| numbers[place]).collect();
        async move {
            let began = loading.lock().now;
            loading.step(id, "load of a batch").await;
            let values: Vec<_> = {
                let shared = loading.lock();
                asked.iter().map(|number| Some((*number, shared.source[*number]))).collect()
            };
            loading.trace(|| format!("  the source says {values:?} for {asked:?}"));
            let long = if random.f64() < 0.1 { 24 } else { 4 };
            for _ in 0..random.u32(0..long) {
                loading.step(id, "think").await;
            }
            let mut shared = loading.lock();
            shared.longest_load = shared.longest_load.max(shared.now - began);
            if random.f64() < 0.12 { Err(()) } else { Ok(values) }
        }
    };
    let loaded: Result<Vec<Option<(usize, u64)>>, ()> = instance.cache.get_or_load_many(&keys, &policy, load).await;
    let mut shared = world.lock();
    shared.trace(|| format!("instance {} got by a batch {loaded:?} for {numbers:?}", instance.id));
    let Ok(values) = loaded else { return shared.count("error of the source", 1) };
    for (ticket, value) in tickets.iter().zip(&values) {
        let grace = DEGRADED_TTL + shared.longest_load + 2;
        let Some((of, version)) = value else {
            shared.checker.fail(ticket.key, format!("key {} was answered as absent", ticket.key));
            continue;
        };
        shared.checker.end(ticket, *version, instance.is_down(), grace);
        if *of != ticket.key || *version > shared.source[ticket.key] {
            let what = format!("key {} was answered with version {version} of key {of}", ticket.key);
            shared.checker.fail(ticket.key, what);
        }
        shared.count("value checked", 1);
    }
    if values.len() != numbers.len() {
        shared.checker.fail(numbers[0], format!("{} answers for {} keys", values.len(), numbers.len()));
    }
}

/// Writes some keys in one transaction, then invalidates them.
pub(crate) async fn write(stage: Stage, instance: Instance, holds: f64, mut random: fastrand::Rng) {
    let mut targets: Vec<Target> = (0..random.usize(1..=2)).map(|_| target(&mut random)).collect();
    let wants_hold = random.f64() < holds;
    if wants_hold {
        targets.retain(Target::can_be_held);
        if targets.is_empty() {
            targets.push(Key::new("page").arg(&7).into_node());
        }
    }
    let hold = if wants_hold { Hold::take(&stage, &instance, &targets, &mut random).await } else { None };
    let write = Write { stage, instance, targets, hold };
    write.run(random).await;
}

/// One write and its invalidation.
struct Write {
    stage: Stage,
    instance: Instance,
    targets: Vec<Target>,
    hold: Option<Hold>,
}

/// A quarantine that this writer was told to have.
struct Hold {
    kept: cache::Hold,
    /// When it was asked for, and so the earliest that its term began.
    asked: u64,
    lasts: u64,
    /// How often the server had lost something by then.
    losses: u64,
}

impl Hold {
    async fn take(stage: &Stage, instance: &Instance, targets: &[Target], random: &mut fastrand::Rng) -> Option<Self> {
        let (asked, losses) = {
            let mut shared = stage.world.lock();
            shared.trace(|| format!("instance {} asks for a hold of {}", instance.id, names(targets)));
            (shared.now, shared.losses)
        };
        let lasts = random.u64(100..1_200);
        let held = instance.cache.hold(targets.iter().cloned(), Duration::from_millis(lasts)).await;
        let mut shared = stage.world.lock();
        shared.trace(|| format!("instance {} holds {}: {}", instance.id, names(targets), held.is_ok()));
        shared.count(if held.is_ok() { "hold" } else { "hold refused" }, 1);
        Some(Self { kept: held.ok()?, asked, lasts, losses })
    }

    fn stands(&self, now: u64, losses: u64) -> bool {
        now < self.asked + self.lasts && losses == self.losses
    }
}

impl Write {
    async fn run(self, mut random: fastrand::Rng) {
        let Stage { world, scene } = self.stage.clone();
        let mut keys: Vec<usize> = self.targets.iter().flat_map(|target| scene.covered(target)).collect();
        keys.sort_unstable();
        keys.dedup();
        let wait = if random.f64() < 0.3 { 12 } else { 3 };
        for _ in 0..random.u32(1..=wait) {
            world.step(self.instance.id, "before commit").await;
        }
        self.commit(&keys);
        for _ in 0..random.u32(0..4) {
            world.step(self.instance.id, "after commit").await;
        }
        if random.f64() < if self.hold.is_some() { 0.3 } else { 0.02 } {
            let how = if self.hold.is_some() { "crash inside a hold" } else { "crash before invalidating" };
            let mut shared = world.lock();
            shared.count(how, 1);
            return shared.trace(|| format!("instance {}: {how} of {}", self.instance.id, names(&self.targets)));
        }
        self.invalidate(&keys, random.f64() < 0.2).await;
    }

    fn commit(&self, keys: &[usize]) {
        let mut shared = self.stage.world.lock();
        for key in keys {
            shared.source[*key] += 1;
        }
        shared.count("commit", 1);
        shared.trace(|| format!("instance {} writes keys {keys:?}", self.instance.id));
        let (now, losses) = (shared.now, shared.losses);
        if self.hold.as_ref().is_some_and(|hold| hold.stands(now, losses)) {
            let wanted: Vec<_> = keys.iter().map(|key| (*key, shared.source[*key])).collect();
            shared.checker.committed_under_hold(&wanted, now);
            shared.count("commit under a hold that stands", 1);
        }
    }

    async fn invalidate(self, keys: &[usize], lingers: bool) {
        let Self { stage: Stage { world, .. }, instance, targets, hold } = self;
        let targets = &targets;
        let wanted: Vec<(usize, u64)> = {
            let mut shared = world.lock();
            shared.trace(|| format!("instance {} invalidates {}", instance.id, names(targets)));
            keys.iter().map(|key| (*key, shared.source[*key])).collect()
        };
        let outcome = match hold {
            None => instance.cache.invalidate(targets.iter().cloned()).await,
            Some(Hold { kept, .. }) if lingers => kept.linger(Duration::from_millis(200)).await,
            Some(Hold { kept, .. }) => kept.release().await,
        };
        let mut shared = world.lock();
        let now = shared.now;
        match outcome {
            Outcome::Applied => shared.checker.applied(instance.id, &wanted, now),
            Outcome::Journaled => shared.checker.journaled(instance.id, &wanted),
        }
        shared.count(if outcome == Outcome::Applied { "invalidation applied" } else { "invalidation journaled" }, 1);
        for target in targets {
            shared.count(kind(target), 1);
        }
        shared.trace(|| format!("instance {} has invalidated {}: {outcome:?} {wanted:?}", instance.id, names(targets)));
    }
}

fn target(random: &mut fastrand::Rng) -> Target {
    let owner = random.i32(7..9);
    let page = random.i32(0..3);
    match random.u32(0..100) {
        0..40 => Key::new("page").arg(&owner).arg(&page).into_entry(),
        40..45 => Key::new("single").into_entry(),
        45..60 => Key::new("page").arg(&owner).into_node(),
        60..63 => Key::new("page").into_node(),
        63..65 => Key::new("single").into_node(),
        65..75 => Target::Tag(Tag::new("p:").arg(&page)),
        75..80 => Target::Tag(Tag::new("odd")),
        80..88 => Target::Glob(format!("page:{owner}:*")),
        88..94 => Target::Glob(format!("page:*:{page}")),
        94..97 => Target::Glob("*".to_owned()),
        _ => Target::All,
    }
}

fn kind(target: &Target) -> &'static str {
    match target {
        Target::Entry(_) => "target entry",
        Target::Node(_) => "target node",
        Target::Tag(_) => "target tag",
        Target::Glob(_) => "target glob",
        _ => "target all",
    }
}

fn names(targets: &[Target]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
