//! Readers and writers.

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, Health, Key, Outcome, Policy, Tag, Target};

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
        let mut state = world.lock();
        state.count("read", 1);
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
pub(crate) async fn write(stage: Stage, instance: Instance, mut random: fastrand::Rng) {
    let Stage { world, scene } = stage;
    let targets: Vec<Target> = (0..random.usize(1..=2)).map(|_| target(&mut random)).collect();
    let mut keys: Vec<usize> = targets.iter().flat_map(|target| scene.covered(target)).collect();
    keys.sort_unstable();
    keys.dedup();
    world.step("commit").await;
    {
        let mut state = world.lock();
        for key in &keys {
            state.source[*key] += 1;
        }
        state.trace(|| format!("instance {} writes keys {keys:?}", instance.id));
    }
    for _ in 0..random.u32(0..4) {
        world.step("after commit").await;
    }
    if random.f64() < 0.02 {
        // Crashed between commit and invalidation: nothing was promised.
        world.lock().count("write without invalidation", 1);
        return;
    }
    let wanted: Vec<(usize, u64)> = {
        let mut state = world.lock();
        state.trace(|| format!("instance {} invalidates {}", instance.id, names(&targets)));
        keys.iter().map(|key| (*key, state.source[*key])).collect()
    };
    let outcome = instance.cache.invalidate(targets.iter().cloned()).await;
    let mut state = world.lock();
    let now = state.now;
    match outcome {
        Outcome::Applied => state.checker.applied(instance.id, &wanted, now),
        Outcome::Journaled => state.checker.journaled(instance.id, &wanted),
    }
    state.count(if outcome == Outcome::Applied { "invalidation applied" } else { "invalidation journaled" }, 1);
    for target in &targets {
        state.count(kind(target), 1);
    }
    state.trace(|| format!("instance {} has invalidated {}: {outcome:?} {wanted:?}", instance.id, names(&targets)));
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
