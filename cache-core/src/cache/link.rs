//! Following whether the store can be reached.
//!
//! A task tells listeners when the store goes out of reach and when it is back, and frees the stand-in then. It ends with
//! the runtime that it was spawned on, which the cache may outlive: the next call on another runtime begins a new one,
//! which goes on from what the one before had told.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::runtime::Handle;

use super::Inner;
use crate::{
    events::Event,
    store::{Link, Store},
};

pub(super) struct LinkWatch {
    inner: Weak<Inner>,
    is_running: Arc<AtomicBool>,
    /// Since when the store is out of reach, as far as was told.
    down: Mutex<Option<Instant>>,
}

/// Tells when the task has ended, however it did.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl LinkWatch {
    pub(super) fn new(inner: Weak<Inner>) -> Self {
        Self { inner, is_running: Arc::default(), down: Mutex::default() }
    }

    /// Begins to follow, unless a task does, the store is always there, or the caller is on no runtime.
    pub(super) fn ensure(&self, store: &Arc<dyn Store>) {
        if self.is_running.load(Ordering::Relaxed) {
            return;
        }
        let (Some(mut link), Ok(runtime)) = (store.link(), Handle::try_current()) else { return };
        if self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (inner, running) = (Weak::clone(&self.inner), Running(Arc::clone(&self.is_running)));
        runtime.spawn(async move {
            let _running = running;
            loop {
                let now = *link.borrow_and_update();
                let Some(inner) = inner.upgrade() else { return };
                inner.watch.tell(&inner, now);
                drop(inner);
                if link.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn tell(&self, inner: &Inner, now: Link) {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        match (now, *down) {
            (Link::Down { since, .. }, None) => {
                *down = Some(since);
                inner.announcer.announce(|| Event::Degraded);
            }
            (Link::Up, Some(since)) => {
                *down = None;
                inner.stand_in.end();
                inner.announcer.announce(|| Event::Recovered { after: since.elapsed() });
            }
            _ => {}
        }
    }
}
