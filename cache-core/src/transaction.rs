//! Transactions: invalidations that wait for the commit.
//!
//! Inside [`transaction`] the invalidations of all methods, of whatever cache, are collected, and cached reads go to their
//! source and store nothing: the transaction must see its own writes, and nobody else may. What was collected takes effect
//! when the outermost transaction has returned `Ok`, before its caller sees that, and is dropped when it returns `Err`.
//!
//! Why not earlier: an invalidation before the commit lets a reader load the old value and store it for good.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{cache::Cache, key::Target};

tokio::task_local! {
    static OPEN: Arc<Collected>;
}

#[derive(Default)]
struct Collected(Mutex<Vec<(Cache, Vec<Target>)>>);

impl Collected {
    fn add(&self, cache: &Cache, targets: Vec<Target>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((cache.clone(), targets));
    }

    fn take(&self) -> Vec<(Cache, Vec<Target>)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs `work` as a transaction: its invalidations take effect together, once it has returned `Ok`.
///
/// The commit belongs into `work`, as its last step. A transaction inside another is part of it: what it collected is kept if it
/// returns `Ok`, and waits for the outermost one. Tasks that `work` spawns are not part of it.
///
/// ```
/// use cache_core::{Cache, Key, Outcome, transaction};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cache = Cache::memory();
/// let done: Result<(), &str> = transaction(async {
///     // Collected, not yet in force.
///     let outcome = cache.invalidate([Key::new("employees").arg(&7).into_entry()]).await;
///     assert_eq!(outcome, Outcome::Journaled);
///     // tx.commit().await?;
///     Ok(())
/// })
/// .await;
/// assert!(done.is_ok());
/// assert_eq!(cache.stats().invalidations_applied, 1);
/// # }
/// ```
///
/// # Errors
///
/// Those of `work`, untouched. A commit whose outcome is unknown should not come back as `Err`, which drops the invalidations.
///
/// # Cancellation
///
/// If the future is dropped or `work` panics, nobody knows whether the commit went through: what was collected takes effect then,
/// which costs misses at worst. A commit that is still on its way may overtake that; `hold` closes this gap.
pub async fn transaction<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let collected = Arc::new(Collected::default());
    let unfinished = Unfinished(Arc::clone(&collected));
    let result = OPEN.scope(collected, work).await;
    let collected = unfinished.0.take();
    if result.is_ok() {
        settle(collected).await;
    }
    result
}

/// Whether the current task is inside a transaction.
pub(crate) fn is_open() -> bool {
    OPEN.try_with(|_| ()).is_ok()
}

/// Leaves the targets to the transaction, if there is one; gives them back otherwise.
pub(crate) fn collect(cache: &Cache, targets: Vec<Target>) -> Result<(), Vec<Target>> {
    let mut targets = Some(targets);
    // Without a transaction the closure does not run.
    let _ = OPEN.try_with(|open| open.add(cache, targets.take().unwrap_or_default()));
    targets.map_or(Ok(()), Err)
}

/// To the transaction around this one, or into force.
async fn settle(collected: Vec<(Cache, Vec<Target>)>) {
    let running: Vec<_> = collected
        .into_iter()
        .filter_map(|(cache, targets)| collect(&cache, targets).err().map(|targets| cache.start_invalidating(targets)))
        .collect();
    for invalidation in running {
        // Shown in the cache's events and health; a transaction has no place to return it.
        let _ = invalidation.await;
    }
}

/// Puts into force what a transaction that did not come to its end has collected.
struct Unfinished(Arc<Collected>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        for (cache, targets) in self.0.take() {
            if let Err(targets) = collect(&cache, targets)
                && tokio::runtime::Handle::try_current().is_ok()
            {
                // The task goes on by itself.
                drop(cache.start_invalidating(targets));
            }
        }
    }
}
