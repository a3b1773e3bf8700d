//! Quarantine: nothing is stored from before a write until after it.
//!
//! A [`Hold`] keeps targets quarantined while a method writes. If the process dies between its commit and its invalidation, the quarantine
//! lapses by itself, and nothing from before the commit is left that could be served.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;
use tracing::Instrument as _;

use super::{Cache, Health, Inner};
use crate::{
    key::Target,
    store::{HolderId, Outcome},
    trace, transaction,
};

/// The store is out of reach, and what was asked for must not be done without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cache's store is out of reach, and this must not be done without it")]
#[non_exhaustive]
pub struct Unavailable;

/// Targets under quarantine: readers load them from the source and store nothing.
///
/// It is kept up in the background until it is [released](Hold::release). Dropped without that, as when the future of the writing method is
/// dropped, it lapses after the time given to [`Cache::hold`]: until then nobody knows whether the write will still go through.
#[derive(Debug)]
#[must_use = "a hold that is dropped is kept up no longer"]
pub struct Hold {
    cache: Cache,
    targets: Arc<[Target]>,
    holder: HolderId,
    beat: AbortHandle,
}

impl Cache {
    /// Quarantines entries, nodes and tags before a write, until the hold is released; for `lasts` if this process dies first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cache_core::{Cache, Key, Outcome};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cache_core::Unavailable> {
    /// let cache = Cache::memory();
    /// let hold = cache.hold([Key::new("employees").arg(&7).into_entry()], Duration::from_secs(10)).await?;
    /// // write and commit
    /// assert_eq!(hold.release().await, Outcome::Applied);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the store is out of reach, or if a glob or the whole namespace is among the targets.
    ///
    /// # Cancellation
    ///
    /// A quarantine that was asked for lapses after `lasts`.
    pub async fn hold(&self, targets: impl IntoIterator<Item = Target>, lasts: Duration) -> Result<Hold, Unavailable> {
        let targets: Arc<[Target]> = targets.into_iter().collect();
        let holder = HolderId::new();
        self.inner.store.hold(&targets, holder, lasts).await.map_err(|error| {
            tracing::debug!(%error, "targets cannot be held");
            Unavailable
        })?;
        self.inner.forget_copies(&targets);
        let beat = tokio::spawn(keep_up(Arc::downgrade(&self.inner), Arc::clone(&targets), holder, lasts));
        Ok(Hold { cache: self.clone(), targets, holder, beat: beat.abort_handle() })
    }
}

impl Cache {
    /// Whether the store can be reached.
    pub(crate) fn reach(&self) -> Result<(), Unavailable> {
        match self.health() {
            Health::Degraded { .. } => Err(Unavailable),
            Health::Connected | Health::Memory => Ok(()),
        }
    }
}

/// Asks again long before the hold would lapse. A hold that was lost meanwhile is there again then.
async fn keep_up(inner: std::sync::Weak<Inner>, targets: Arc<[Target]>, holder: HolderId, lasts: Duration) {
    loop {
        tokio::time::sleep(lasts / 3).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = inner.store.hold(&targets, holder, lasts).await
            && let Some(kept_back) = inner.troubles.hold.may_say()
        {
            tracing::warn!(%error, kept_back, "a hold could not be kept up");
        }
    }
}

impl Hold {
    /// Ends the quarantine and invalidates the targets.
    ///
    /// Inside a [`transaction`](crate::transaction()) that waits for its end, and the answer is [`Outcome::Journaled`].
    ///
    /// # Cancellation
    ///
    /// Once polled, it runs to its end even if the future is dropped.
    pub async fn release(self) -> Outcome {
        self.release_or_collect(None).await
    }

    /// Invalidates the targets, but keeps them quarantined for `longer`: readers load from a source that may lag behind, such as
    /// a database replica, and nothing is stored until it has caught up.
    ///
    /// # Cancellation
    ///
    /// As [`Hold::release`].
    pub async fn linger(self, longer: Duration) -> Outcome {
        self.release_or_collect(Some(longer)).await
    }

    /// Before the commit, readers would store the old value again.
    async fn release_or_collect(self, linger: Option<Duration>) -> Outcome {
        match transaction::collect_hold(self, linger) {
            Ok(()) => Outcome::Journaled,
            Err(hold) => hold.start_releasing(linger).await,
        }
    }

    /// The task is there when this returns, before any await.
    pub(crate) fn start_releasing(self, linger: Option<Duration>) -> impl Future<Output = Outcome> + use<> {
        self.beat.abort();
        let (inner, targets, holder) = (Arc::clone(&self.cache.inner), Arc::clone(&self.targets), self.holder);
        let span = trace::invalidate(targets.len());
        let task = tokio::spawn(async move { inner.release(&targets, holder, linger).await }.instrument(span));
        // The task ends early only if the runtime shuts down.
        async move { task.await.unwrap_or(Outcome::Journaled) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

impl Inner {
    async fn release(&self, targets: &[Target], holder: HolderId, linger: Option<Duration>) -> Outcome {
        let began = Instant::now();
        self.invalidate_stand_in(targets).await;
        if let Some(longer) = linger
            && self.store.hold(targets, holder, longer).await.is_ok()
        {
            self.forget_copies(targets);
            // Under quarantine nothing is there that could be served, now or when it lapses.
            return self.invalidated(targets.to_vec(), Ok(Outcome::Applied), began);
        }
        let outcome = self.store.release_hold(targets, holder).await;
        self.forget_copies(targets);
        self.invalidated(targets.to_vec(), outcome, began)
    }
}
