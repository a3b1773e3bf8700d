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
    time::{Duration, Instant},
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
    told: Mutex<Told>,
}

/// What was told of outages.
#[derive(Default)]
struct Told {
    /// Since when the store is out of reach.
    down: Option<Instant>,
    /// How often it went out of reach, and for how long in all, before this time.
    outages: u64,
    before: Duration,
}

/// Tells when the task has ended, however it did.
pub(super) struct Running(pub(super) Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl LinkWatch {
    pub(super) fn new(inner: Weak<Inner>) -> Self {
        Self { inner, is_running: Arc::default(), told: Mutex::default() }
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
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match (now, told.down) {
            (Link::Down { since, .. }, None) => {
                told.down = Some(since);
                told.outages += 1;
                inner.announcer.announce(|| Event::Degraded);
            }
            (Link::Up, Some(since)) => {
                let after = since.elapsed();
                told.down = None;
                told.before += after;
                inner.stand_in.end();
                inner.announcer.announce(|| Event::Recovered { after });
            }
            _ => {}
        }
    }

    /// How often the store went out of reach, and for how long it was in all.
    #[cfg(feature = "metrics")]
    pub(super) fn outages(&self) -> (u64, Duration) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (told.outages, told.before + told.down.map_or(Duration::ZERO, |since| since.elapsed()))
    }
}
