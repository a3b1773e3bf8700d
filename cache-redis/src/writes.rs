//! Telling that Redis refuses to store: its memory is full, it cannot save, the user may not write.
//!
//! Such a server is within reach and answers reads, so nothing but the hit rate shows it. It is told once, and once when
//! it is over: when something was stored and nothing has been refused for a while, since a server at its limit takes one
//! write and refuses the next.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::store::StoreError;

/// So long nothing is refused before it counts as over.
const CALM: Duration = Duration::from_secs(1);

/// Whether Redis stores what it is given.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    are_refused: AtomicBool,
    /// When one was refused last.
    last: Mutex<Option<Instant>>,
}

impl Writes {
    /// Something was stored.
    pub(crate) fn work(&self, at: &str) {
        if !self.are_refused.load(Ordering::Relaxed) {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() >= CALM) {
            *last = None;
            self.are_refused.store(false, Ordering::Relaxed);
            tracing::info!(at, "Redis stores again");
        }
    }

    /// A write has failed, which is a refusal if the server itself says so.
    pub(crate) fn failed(&self, at: &str, error: &StoreError) {
        let StoreError::Failed(error) = error else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.replace(Instant::now()).is_none() {
            self.are_refused.store(true, Ordering::Relaxed);
            tracing::warn!(at, %error, "Redis refuses to store: values are loaded and not cached");
        }
    }
}
