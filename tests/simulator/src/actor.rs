//! Readers and writers.

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, Health, Key, Outcome, Policy, Store, Tag, Target, store::HolderId};

use crate::world::{Scene, World};

/// How long a value that was loaded in degraded mode lives, in milliseconds.
pub(crate) const DEGRADED_TTL: u64 = 150;

/// One instance of the service.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) id: u64,
    pub(crate) cache: Cache,
    pub(crate) store: Arc<dyn Store>,
}

impl Instance {
    /// Ends a quarantine.
    async fn release(&self, targets: &[Target], holder: HolderId) -> Outcome {
        let released = self.store.release_hold(targets, holder).await.unwrap_or(Outcome::Journaled);
        if released == Outcome::Applied && !self.is_down() {
            return released;
        }
        // The stand-in has to hear of it too.
        let _ = self.cache.invalidate(targets.iter().cloned()).await;
        released
    }

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
        let mut state = world.lock();
        state.count("reader", 1);
        state.trace(|| format!("instance {} reads {key}", instance.id));
        state.checker.begin(instance.id, number, state.now)
    };
    let policy = policy(number);
    let loading = world.clone();
    let name = key.as_str().to_owned();
    let loaded = instance
        .cache
        .get_or_load(&key, &policy, async move || {
            let began = loading.lock().now;
            loading.step("load").await;
            let version = loading.lock().source[number];
            loading.trace(|| format!("  the source says {version} for {name}"));
            let long = if random.f64() < 0.1 { 24 } else { 4 };
            for _ in 0..random.u32(0..long) {
                loading.step("think").await;
            }
            let mut state = loading.lock();
            state.longest_load = state.longest_load.max(state.now - began);
            if random.f64() < 0.12 { Err(()) } else { Ok((number, version)) }
        })
        .await;
    let mut state = world.lock();
    state.trace(|| format!("instance {} got {loaded:?} for {key}, asked at {}", instance.id, ticket.began));
    match loaded {
        Ok((of, version)) => {
            let grace = DEGRADED_TTL + state.longest_load + 2;
            state.checker.end(&ticket, version, instance.is_down(), grace);
            if of != number || version > state.source[number] {
                let what = format!("{key} was answered with version {version} of key {of}");
                state.checker.fail(number, what);
            }
            state.count("value checked", 1);
        }
        Err(()) => state.count("error of the source", 1),
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
    holder: HolderId,
    /// When it was asked for, and so the earliest that its term began.
    asked: u64,
    lasts: u64,
    /// How often the server had lost something by then.
    losses: u64,
}

impl Hold {
    async fn take(stage: &Stage, instance: &Instance, targets: &[Target], random: &mut fastrand::Rng) -> Option<Self> {
        let (asked, losses) = {
            let mut state = stage.world.lock();
            state.trace(|| format!("instance {} asks for a hold of {}", instance.id, names(targets)));
            (state.now, state.losses)
        };
        let hold = Self { holder: HolderId(std::array::from_fn(|_| random.alphanumeric() as u8)), asked, lasts: random.u64(50..500), losses };
        let held = instance.store.hold(targets, hold.holder, Duration::from_millis(hold.lasts)).await;
        let mut state = stage.world.lock();
        state.trace(|| format!("instance {} holds {}: {held:?}", instance.id, names(targets)));
        state.count(if held.is_ok() { "hold" } else { "hold without an answer" }, 1);
        held.is_ok().then_some(hold)
    }

    fn stands(&self, now: u64, losses: u64) -> bool {
        now < self.asked + self.lasts && losses == self.losses
    }
}

impl Write {
    async fn run(&self, mut random: fastrand::Rng) {
        let Stage { world, scene } = &self.stage;
        let mut keys: Vec<usize> = self.targets.iter().flat_map(|target| scene.covered(target)).collect();
        keys.sort_unstable();
        keys.dedup();
        let wait = if random.f64() < 0.3 { 12 } else { 3 };
        for _ in 0..random.u32(1..=wait) {
            world.step("before commit").await;
        }
        self.commit(&keys);
        for _ in 0..random.u32(0..4) {
            world.step("after commit").await;
        }
        if random.f64() < if self.hold.is_some() { 0.3 } else { 0.02 } {
            let how = if self.hold.is_some() { "crash inside a hold" } else { "crash before invalidating" };
            let mut state = world.lock();
            state.count(how, 1);
            return state.trace(|| format!("instance {}: {how} of {}", self.instance.id, names(&self.targets)));
        }
        self.invalidate(&keys).await;
    }

    fn commit(&self, keys: &[usize]) {
        let mut state = self.stage.world.lock();
        for key in keys {
            state.source[*key] += 1;
        }
        state.count("commit", 1);
        state.trace(|| format!("instance {} writes keys {keys:?}", self.instance.id));
        let (now, losses) = (state.now, state.losses);
        if self.hold.as_ref().is_some_and(|hold| hold.stands(now, losses)) {
            let wanted: Vec<_> = keys.iter().map(|key| (*key, state.source[*key])).collect();
            state.checker.committed_under_hold(&wanted, now);
            state.count("commit under a hold that stands", 1);
        }
    }

    async fn invalidate(&self, keys: &[usize]) {
        let Self { stage: Stage { world, .. }, instance, targets, hold } = self;
        let wanted: Vec<(usize, u64)> = {
            let mut state = world.lock();
            state.trace(|| format!("instance {} invalidates {}", instance.id, names(targets)));
            keys.iter().map(|key| (*key, state.source[*key])).collect()
        };
        let outcome = match hold {
            None => instance.cache.invalidate(targets.iter().cloned()).await,
            Some(hold) => instance.release(targets, hold.holder).await,
        };
        let mut state = world.lock();
        let now = state.now;
        match outcome {
            Outcome::Applied => state.checker.applied(instance.id, &wanted, now),
            Outcome::Journaled => state.checker.journaled(instance.id, &wanted),
        }
        state.count(if outcome == Outcome::Applied { "invalidation applied" } else { "invalidation journaled" }, 1);
        for target in targets {
            state.count(kind(target), 1);
        }
        state.trace(|| format!("instance {} has invalidated {}: {outcome:?} {wanted:?}", instance.id, names(targets)));
    }
}

fn target(random: &mut fastrand::Rng) -> Target {
    let owner = random.i32(7..9);
    let page = random.i32(0..4);
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
