//! Publishing what the caches of this process have counted.
//!
//! What is published are sums since the process began, so it does not matter how often it is done, by whom, or whether a recorder was
//! there from the beginning. Caches of one namespace are published together: their gauges and counters are those of all of them.

use std::{
    collections::BTreeMap,
    ops::AddAssign,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use metrics::{Label, SharedString};

use super::names;
use crate::{cache::Inner, stats::FunctionStats, store::Traffic};

/// What the caches of one namespace have counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) functions: BTreeMap<String, FunctionStats>,
    /// By kind and outcome.
    pub(crate) invalidations: BTreeMap<(&'static str, &'static str), u64>,
    pub(crate) evictions: u64,
    pub(crate) outages: u64,
    pub(crate) degraded_for: Duration,
    /// By the store's name.
    pub(crate) traffic: BTreeMap<&'static str, Traffic>,
    pub(crate) now: Now,
}

/// What is so at the moment, and nothing once the cache is gone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) journal: u64,
    pub(crate) degraded: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        for (function, stats) in other.functions {
            *self.functions.entry(function).or_default() += stats;
        }
        for (what, count) in other.invalidations {
            *self.invalidations.entry(what).or_default() += count;
        }
        for (store, traffic) in other.traffic {
            *self.traffic.entry(store).or_default() += traffic;
        }
        self.evictions += other.evictions;
        self.outages += other.outages;
        self.degraded_for += other.degraded_for;
        self.now.entries += other.now.entries;
        self.now.bytes += other.now.bytes;
        self.now.journal += other.now.journal;
        self.now.degraded += other.now.degraded;
    }
}

/// The caches of one namespace.
#[derive(Default)]
struct Caches {
    living: Vec<Weak<Inner>>,
    /// What those had counted that are gone.
    gone: Figures,
}

static CACHES: Mutex<BTreeMap<Arc<str>, Caches>> = Mutex::new(BTreeMap::new());

fn caches() -> MutexGuard<'static, BTreeMap<Arc<str>, Caches>> {
    CACHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on this one is published with others of its namespace.
pub(crate) fn enlist(namespace: &Arc<str>, inner: Weak<Inner>) {
    caches().entry(Arc::clone(namespace)).or_default().living.push(inner);
}

/// One is gone that had counted this.
pub(crate) fn retire(namespace: &Arc<str>, counted: Figures) {
    if let Some(caches) = caches().get_mut(namespace) {
        caches.living.retain(|inner| inner.strong_count() > 0);
        caches.gone += counted;
    }
    publish(namespace);
}

/// Publishes what the caches of this namespace have counted.
pub(crate) fn publish(namespace: &Arc<str>) {
    let Some((living, mut figures)) = caches()
        .get(namespace)
        .map(|caches| (caches.living.iter().filter_map(Weak::upgrade).collect::<Vec<_>>(), caches.gone.clone()))
    else {
        return;
    };
    for inner in &living {
        figures += inner.figures();
    }
    // A recorder that was installed since the last time knows none.
    names::describe();
    Series { namespace: SharedString::from_shared(Arc::clone(namespace)) }.publish(&figures);
}

/// The series of one namespace.
struct Series {
    namespace: SharedString,
}

impl Series {
    fn publish(&self, figures: &Figures) {
        for (function, stats) in &figures.functions {
            self.function(&function.clone().into(), stats);
        }
        for (&(kind, outcome), &count) in &figures.invalidations {
            let labels = [("kind", kind.into()), ("outcome", outcome.into())];
            self.counter(names::INVALIDATIONS, labels, count);
        }
        for (&store, traffic) in &figures.traffic {
            self.traffic(store, traffic);
        }
        self.counter(names::L1_EVICTIONS, [], figures.evictions);
        self.counter(names::OUTAGES, [], figures.outages);
        self.counter(names::DEGRADED_TIME, [], figures.degraded_for.as_secs());
        self.gauge(names::L1_ENTRIES, figures.now.entries);
        self.gauge(names::L1_BYTES, figures.now.bytes);
        self.gauge(names::JOURNAL, figures.now.journal);
        self.gauge(names::DEGRADED, figures.now.degraded);
    }

    fn function(&self, function: &SharedString, stats: &FunctionStats) {
        let FunctionStats { requests, refused, unencodable, not_cached, unstored, .. } = *stats;
        let by_outcome = [
            ("l1_hit", requests.l1_hits),
            ("l2_hit", requests.l2_hits),
            ("miss", requests.misses),
            ("joined", requests.joined),
            ("held", requests.held),
            ("degraded", requests.degraded),
            ("bypassed", requests.bypassed),
        ];
        self.each(names::REQUESTS, function, "outcome", &by_outcome);
        let by_reason = [
            ("lease_lost", refused),
            ("unencodable", unencodable),
            ("cache_if", not_cached),
            ("store_error", unstored),
        ];
        self.each(names::FILLS_REFUSED, function, "reason", &by_reason);
        for (name, count) in [
            (names::LOAD_ERRORS, stats.load_errors),
            (names::FILLS, stats.fills),
            (names::SERVED_STALE, stats.served_stale),
            (names::UNREADABLE, stats.unreadable),
            (names::STORE_ERRORS, stats.store_errors),
            (names::VERIFIED, stats.verified),
            (names::MISMATCHES, stats.mismatched),
        ] {
            self.counter(name, [("function", function.clone())], count);
        }
    }

    fn traffic(&self, store: &'static str, traffic: &Traffic) {
        for (name, count) in [
            (names::ROUND_TRIPS, traffic.round_trips),
            (names::TIMEOUTS, traffic.timeouts),
            (names::LOSSES, traffic.losses),
            (names::FENCES, traffic.fences),
            (names::REPLAYED, traffic.replayed),
        ] {
            self.counter(name, [("store", store.into())], count);
        }
    }

    fn each(&self, name: &'static str, function: &SharedString, label: &'static str, counts: &[(&'static str, u64)]) {
        for &(value, count) in counts {
            self.counter(name, [("function", function.clone()), (label, value.into())], count);
        }
    }

    fn counter<const N: usize>(&self, name: &'static str, labels: [(&'static str, SharedString); N], count: u64) {
        metrics::counter!(name, self.labels(labels)).absolute(count);
    }

    fn gauge(&self, name: &'static str, value: u64) {
        #[allow(clippy::cast_precision_loss, reason = "2^53 bytes are more than anybody has")]
        metrics::gauge!(name, self.labels([])).set(value as f64);
    }

    fn labels<const N: usize>(&self, labels: [(&'static str, SharedString); N]) -> Vec<Label> {
        let own = [("namespace", self.namespace.clone())];
        own.into_iter().chain(labels).map(|(name, value)| Label::new(name, value)).collect()
    }
}
