//! Spans of what takes time, and warnings that a storm of failures does not multiply.
//!
//! Spans are at the level DEBUG; a hit in memory makes none. Their names and fields are in `docs/OPERATIONS.md`.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Span, field::Empty};

/// A loader runs, for so many entries.
pub(crate) fn load(function: &str, entries: usize) -> Span {
    tracing::debug_span!(
        "load",
        otel.kind = "internal",
        otel.status_code = Empty,
        staleproof.function = function,
        staleproof.entries = entries,
        error.type = Empty,
    )
}

/// So many targets are invalidated.
pub(crate) fn invalidate(targets: usize) -> Span {
    tracing::debug_span!("invalidate", otel.kind = "internal", staleproof.targets = targets, staleproof.outcome = Empty,)
}

/// What the span is of has failed, with an error of this type.
pub(crate) fn failed<E>(span: &Span) {
    span.record("error.type", std::any::type_name::<E>());
    span.record("otel.status_code", "ERROR");
}

/// So long nothing is said again.
const QUIET: Duration = Duration::from_secs(10);

/// Says something seldom, however often there is reason to.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    kept_back: u64,
}

impl Seldom {
    /// Nothing has been said yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Said { last: None, kept_back: 0 }))
    }

    /// Whether it is to be said now, with how often it was kept back.
    pub fn may_say(&self) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| last.elapsed() < QUIET) {
            said.kept_back += 1;
            return None;
        }
        said.last = Some(Instant::now());
        Some(std::mem::take(&mut said.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_said_once_and_counted() {
        let seldom = Seldom::new();
        assert_eq!(seldom.may_say(), Some(0));
        assert!((0..1_000).all(|_| seldom.may_say().is_none()));
        seldom.0.lock().expect("nobody panics").last = Instant::now().checked_sub(QUIET);
        assert_eq!((seldom.may_say(), seldom.may_say()), (Some(1_000), None));
    }
}
