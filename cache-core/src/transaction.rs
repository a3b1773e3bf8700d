//! Transactions: invalidations that wait for the commit.
//!
//! Inside [`transaction`] the invalidations of all methods, of whatever cache, are collected, and cached reads go to their
//! source and store nothing: the transaction must see its own writes, and nobody else may. What was collected takes effect
//! when the outermost transaction has returned `Ok`, before its caller sees that, and is dropped when it returns `Err`.
//!
//! Why not earlier: an invalidation before the commit lets a reader load the old value and store it for good.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    cache::{Cache, Hold},
    key::Target,
    store::Outcome,
};

tokio::task_local! {
    static OPEN: Arc<Collected>;
}

#[derive(Default)]
struct Collected(Mutex<Vec<Item>>);

/// Something to do after the commit.
enum Item {
    Targets(Cache, Vec<Target>),
    Hold(Hold, Option<Duration>),
}

impl Collected {
    fn add(&self, item: Item) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(item);
    }

    fn take(&self) -> Vec<Item> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Item {
    /// The task is there when this returns.
    fn start(self) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        match self {
            Self::Targets(cache, targets) => Box::pin(cache.start_invalidating(targets)),
            Self::Hold(hold, linger) => Box::pin(hold.start_releasing(linger)),
        }
    }
}

/// Runs `work` as a transaction: its invalidations take effect together, once it has returned `Ok`.
///
/// The commit belongs into `work`, as its last step. If it fails, nobody knows whether it went through, as when the connection was lost
/// before its answer came: hand its error out inside of the `Ok`, so that the invalidations are not dropped. A transaction inside another is part of it: what it collected is kept if it
/// returns `Ok`, and waits for the outermost one. Tasks that `work` spawns are not part of it.
///
/// ```
/// use cache_core::{Cache, Key, Outcome, transaction};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cache = Cache::memory();
/// # let commit = async || Ok::<_, &str>(());
/// let done: Result<_, &str> = transaction(async {
///     // Collected, not yet in force.
///     let outcome = cache.invalidate([Key::new("employees").arg(&7).into_entry()]).await;
///     assert_eq!(outcome, Outcome::Journaled);
///     Ok(commit().await)
/// })
/// .await;
/// assert!(done.is_ok_and(|committed| committed.is_ok()));
/// assert_eq!(cache.stats().invalidations_applied, 1);
/// # }
/// ```
///
/// # Errors
///
/// Those of `work`, untouched. Each drops what was collected.
///
/// # Cancellation
///
/// If the future is dropped or `work` panics, nobody knows whether the commit went through: what was collected takes effect then,
/// which costs misses at worst. A commit that is still on its way may overtake that; `hold` closes this gap. Dropped outside of a
/// runtime, nothing can be told to Redis, and the log says so.
pub async fn transaction<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let collected = Arc::new(Collected::default());
    let unfinished = Unfinished(Arc::clone(&collected));
    let result = OPEN.scope(collected, work).await;
    let mut collected = unfinished.0.take();
    if result.is_err() {
        // Nothing was written, but nobody needs to wait for the lapse of what was held.
        collected.retain(|item| matches!(item, Item::Hold(..)));
    }
    settle(collected).await;
    result
}

/// Whether the current task is inside a transaction.
pub(crate) fn is_open() -> bool {
    OPEN.try_with(|_| ()).is_ok()
}

/// Leaves the targets to the transaction, if there is one; gives them back otherwise.
pub(crate) fn collect(cache: &Cache, targets: Vec<Target>) -> Result<(), Vec<Target>> {
    add(Item::Targets(cache.clone(), targets)).map_err(|item| match item {
        Item::Targets(_, targets) => targets,
        Item::Hold(..) => unreachable!("what comes back is what was given"),
    })
}

/// Leaves the release of a hold to the transaction, if there is one; gives it back otherwise.
pub(crate) fn collect_hold(hold: Hold, linger: Option<Duration>) -> Result<(), Hold> {
    add(Item::Hold(hold, linger)).map_err(|item| match item {
        Item::Hold(hold, _) => hold,
        Item::Targets(..) => unreachable!("what comes back is what was given"),
    })
}

fn add(item: Item) -> Result<(), Item> {
    let mut item = Some(item);
    // Without a transaction the closure does not run.
    let _ = OPEN.try_with(|open| item.take().map(|item| open.add(item)));
    item.map_or(Ok(()), Err)
}

/// To the transaction around this one, or into force.
async fn settle(collected: Vec<Item>) {
    let running: Vec<_> = collected.into_iter().filter_map(|item| add(item).err()).map(Item::start).collect();
    for invalidation in running {
        // Shown in the cache's events and health; a transaction has no place to return it.
        let _ = invalidation.await;
    }
}

/// Puts into force what a transaction that did not come to its end has collected. Holds lapse by themselves: the commit may
/// still be on its way.
struct Unfinished(Arc<Collected>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        for item in self.0.take() {
            let Item::Targets(cache, _) = &item else { continue };
            // Memory answers without waiting, and so outside of a runtime too.
            if cache.is_in_process() || tokio::runtime::Handle::try_current().is_ok() {
                if let Err(item) = add(item) {
                    // The task goes on by itself.
                    drop(item.start());
                }
            } else if add(item).is_err() {
                tracing::error!(
                    "a transaction was dropped outside of a runtime before its end: its invalidations are lost"
                );
            }
        }
    }
}
