//! What all actors share: the source, the points at which they wait for the schedule, the counts and the trace.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cache_core::{Key, L1, Tag, Target, glob::Glob};
use tokio::sync::oneshot;

use crate::check::Checker;

/// What is read and written: keys and the versions that the source holds.
pub(crate) struct Scene {
    /// All keys, by number.
    pub(crate) keys: Vec<Key>,
}

/// Shared by all actors of one run. Cheap to clone.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

pub(crate) struct State {
    /// Milliseconds of the simulation.
    pub(crate) now: u64,
    /// The committed version of each key.
    pub(crate) source: Vec<u64>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) checker: Checker,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) trace: Option<Vec<Line>>,
    /// The longest that a load took.
    pub(crate) longest_load: u64,
    /// How often the server lost or changed anything by itself.
    pub(crate) losses: u64,
}

/// What waits for its step.
pub(crate) struct Waiting {
    pub(crate) instance: u64,
    pub(crate) what: &'static str,
    pub(crate) go: oneshot::Sender<()>,
}

/// One line of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at: u64,
    pub(crate) text: String,
}

impl Scene {
    /// Pages of two owners under two nodes and one or two tags, and one entry without arguments.
    pub(crate) fn new() -> Self {
        let mut keys = Vec::new();
        for owner in [7, 8] {
            for page in 0..3 {
                let key = Key::new("page").arg(&owner).arg(&page).tag(Tag::new("p:").arg(&page));
                keys.push(if page == 1 { key.tag(Tag::new("odd")) } else { key });
            }
        }
        keys.push(Key::new("single").tag(Tag::new("odd")));
        Self { keys }
    }

    /// The numbers of the keys that a target covers.
    pub(crate) fn covered(&self, target: &Target) -> Vec<usize> {
        let covers = |key: &Key| match target {
            Target::Entry(path) => key.as_str() == path,
            Target::Node(path) => key.as_str() == path || key.nodes().any(|node| node == path),
            Target::Tag(tag) => key.tags().contains(tag),
            Target::Glob(glob) => Glob::new(glob).matches(key.as_str()),
            _ => true,
        };
        (0..self.keys.len()).filter(|&index| covers(&self.keys[index])).collect()
    }
}

/// By when no lease lasts that was there before, in milliseconds.
const LAPSE: u64 = 1_050;

impl World {
    pub(crate) fn new(keys: usize, l1: L1, traced: bool) -> Self {
        let lapse = if l1 == L1::Leased { LAPSE } else { 0 };
        let bound = if let L1::For(bound) = l1 { u64::try_from(bound.as_millis()).unwrap_or(u64::MAX) } else { 0 };
        Self(Arc::new(Mutex::new(State {
            now: 0,
            source: vec![0; keys],
            waiting: Vec::new(),
            checker: Checker::new(keys, lapse, bound),
            counts: BTreeMap::new(),
            trace: traced.then(Vec::new),
            longest_load: 0,
            losses: 0,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the schedule picks this very step.
    pub(crate) async fn step(&self, instance: u64, what: &'static str) {
        let (go, gone) = oneshot::channel();
        self.lock().waiting.push(Waiting { instance, what, go });
        // An error means that the run is over: nothing polls this any more.
        let _ = gone.await;
    }

    pub(crate) fn trace(&self, text: impl FnOnce() -> String) {
        self.lock().trace(text);
    }
}

impl State {
    pub(crate) fn trace(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(Line { at: self.now, text: text() });
        }
    }

    pub(crate) fn count(&mut self, what: &str, by: u64) {
        if let Some(count) = self.counts.get_mut(what) {
            *count += by;
        } else {
            self.counts.insert(what.to_owned(), by);
        }
    }
}
