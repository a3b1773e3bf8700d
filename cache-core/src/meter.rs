//! What a cache does, for the recorder of the `metrics` crate. Without the feature `metrics` nothing is recorded.
//!
//! A hit never comes here: what is counted in [`stats`](crate::stats) is published from there, by a task or when a host asks for it.
//! What is rare is recorded as it happens.
//!
//! A label is a namespace, a function's prefix as the counters have it (of which there is a bounded number), or one of few words. It
//! is never a key.

#[cfg(feature = "metrics")]
mod names;
#[cfg(feature = "metrics")]
pub(crate) mod publish;

use std::{sync::Arc, time::Duration};

use crate::store::Outcome;

/// Records what happens in one namespace.
#[derive(Clone, Debug)]
pub struct Meter {
    namespace: Arc<str>,
}

impl Meter {
    /// A meter of this namespace.
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into() }
    }

    pub(crate) fn namespace(&self) -> &Arc<str> {
        &self.namespace
    }
}

#[cfg(feature = "metrics")]
impl Meter {
    /// A loader has run, for one entry or a batch.
    pub(crate) fn loaded(&self, function: &Arc<str>, took: Duration, ok: bool) {
        let outcome = if ok { "ok" } else { "error" };
        self.record(names::LOAD_DURATION, took, Some(function), Some(outcome));
    }

    /// An invalidation has returned.
    pub(crate) fn invalidated(&self, outcome: Outcome, took: Duration) {
        self.record(names::INVALIDATION_DURATION, took, None, Some(outcome.name()));
    }

    /// Another instance has dropped what was invalidated so long ago, or can serve it no more.
    pub fn took_effect(&self, after: Duration) {
        self.record(names::INVALIDATION_LAG, after, None, None);
    }

    fn record(&self, name: &'static str, took: Duration, function: Option<&Arc<str>>, outcome: Option<&'static str>) {
        use metrics::Label;
        let mut labels = vec![Label::new("namespace", Arc::clone(&self.namespace))];
        labels.extend(function.map(|function| Label::new("function", Arc::clone(function))));
        labels.extend(outcome.map(|outcome| Label::new("outcome", outcome)));
        metrics::histogram!(name, labels).record(took.as_secs_f64());
    }
}

#[cfg(not(feature = "metrics"))]
#[allow(clippy::unused_self, reason = "it would record")]
impl Meter {
    pub(crate) fn loaded(&self, _function: &Arc<str>, _took: Duration, _ok: bool) {}

    pub(crate) fn invalidated(&self, _outcome: Outcome, _took: Duration) {}

    /// Records nothing.
    pub fn took_effect(&self, _after: Duration) {}
}
