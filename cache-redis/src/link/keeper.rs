//! The task that keeps the connection, and its successors.
//!
//! A task ends with the runtime that it was spawned on, and so does the connection that was opened there. A store may
//! outlive that runtime: a `static` one in tests does, of which each has a runtime of its own. The next call on another
//! runtime begins a new task there, which finds the connection dead and opens one of its own.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use tokio::{runtime::Handle, task::AbortHandle};

use super::Link;

/// Keeps a link for as long as it lives itself.
pub(crate) struct Keeper {
    link: Arc<Link>,
    task: Mutex<Option<AbortHandle>>,
}

impl Keeper {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        let keeper = Self { link, task: Mutex::new(None) };
        keeper.ensure();
        keeper
    }

    /// Begins a new task, if there is none and the caller is on a runtime.
    pub(crate) fn ensure(&self) {
        if self.link.is_kept.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if self.link.is_kept.swap(true, Ordering::AcqRel) {
            return;
        }
        // Outside of the task, so that it is dropped even if the runtime shuts down before the first poll. Within the
        // task it goes last, when a replay that was under way has put back what it had taken.
        let kept = Kept(Arc::clone(&self.link));
        let spawned = runtime.spawn(async move {
            let Kept(link) = &kept;
            link.keep().await;
        });
        *task = Some(spawned.abort_handle());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// Tells when the task has ended, however it did.
struct Kept(Arc<Link>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.is_kept.store(false, Ordering::Release);
    }
}
