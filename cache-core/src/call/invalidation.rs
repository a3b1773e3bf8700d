//! What `#[invalidates]` does once the body is through.
//!
//! Between the end of the body and the start of the invalidation there is no await, and an invalidation starts by handing its
//! work to a task: a future that is dropped after the body finished loses nothing.

use std::{future::Future, time::Duration};

use crate::{Cache, Hold, Target, Unavailable, transaction};

/// A body's result, looked at by type.
#[derive(Debug)]
pub struct Finished<'a, R>(pub &'a R);

/// Answers for a `Result`.
pub trait OkOfResult<'a> {
    /// What is in the `Ok`.
    type Ok;
    /// The value, if the body went well.
    fn ok(&self) -> Option<&'a Self::Ok>;
}

impl<'a, T, E> OkOfResult<'a> for &Finished<'a, Result<T, E>> {
    type Ok = T;
    fn ok(&self) -> Option<&'a T> {
        self.0.as_ref().ok()
    }
}

/// Answers for anything else.
pub trait OkOfAny<'a> {
    /// The result itself.
    type Ok;
    /// The value: a body that cannot fail went well.
    fn ok(&self) -> Option<&'a Self::Ok>;
}

impl<'a, T> OkOfAny<'a> for Finished<'a, T> {
    type Ok = T;
    fn ok(&self) -> Option<&'a T> {
        Some(self.0)
    }
}

/// The value of a body's result, if it went well.
#[doc(hidden)]
#[macro_export]
macro_rules! __ok {
    ($result:expr) => {{
        #[allow(unused_imports, reason = "each type needs one of them")]
        use $crate::call::{OkOfAny as _, OkOfResult as _};
        (&&$crate::call::Finished(&$result)).ok()
    }};
}

/// One attribute's targets and where they are cached.
#[derive(Debug)]
pub struct Invalidation {
    cache: Cache,
    targets: Vec<Target>,
    hold: Option<(Hold, Option<Duration>)>,
}

impl Invalidation {
    /// Of targets that are known before the body runs.
    pub fn new<const N: usize>(cache: &Cache, targets: [Target; N]) -> Self {
        Self { cache: cache.clone(), targets: targets.into(), hold: None }
    }

    /// Quarantines the targets that are known before the body, until after it and for `linger` longer.
    ///
    /// # Errors
    ///
    /// If the store is out of reach. The invalidation is as without a hold then.
    pub async fn hold(&mut self, lasts: Duration, linger: Option<Duration>) -> Result<(), Unavailable> {
        let hold = self.cache.hold(self.targets.iter().cloned(), lasts).await?;
        // Its release invalidates them.
        self.targets.clear();
        self.hold = Some((hold, linger));
        Ok(())
    }

    /// Whether the store can be reached.
    ///
    /// # Errors
    ///
    /// If not.
    pub fn reach(&self) -> Result<(), Unavailable> {
        self.cache.reach()
    }

    /// Starts what is to be done, or leaves it to the transaction.
    fn start(self) -> impl Future<Output = ()> {
        let Self { cache, targets, hold } = self;
        let released = hold.and_then(|(hold, linger)| {
            transaction::collect_hold(hold, linger).err().map(|hold| hold.start_releasing(linger))
        });
        let invalidated = (!targets.is_empty())
            .then(|| transaction::collect(&cache, targets).err())
            .flatten()
            .map(|targets| cache.start_invalidating(targets));
        async move {
            // It shows in the cache's events and health; a method has no place to return it.
            if let Some(released) = released {
                let _outcome = released.await;
            }
            if let Some(invalidated) = invalidated {
                let _outcome = invalidated.await;
            }
        }
    }

    /// Adds the targets that are known now, or withdraws all if the body failed.
    pub fn settle<const N: usize>(&mut self, targets: Option<[Target; N]>) {
        match targets {
            Some(targets) => self.targets.extend(targets),
            None => self.targets.clear(),
        }
    }
}

/// What a method that must not write without the store answers instead.
#[diagnostic::on_unimplemented(
    message = "`unreachable = \"refuse\"` needs a `Result` whose error can be made from `Unavailable`, and `{Self}` is none",
    label = "this method has nothing to answer when the store is out of reach",
    note = "for the method's error type, write `impl From<staleproof::Unavailable> for YourError`",
    note = "or leave it out: the default, `unreachable = \"journal\"`, writes and invalidates when the store is back"
)]
pub trait Refuse {
    /// The answer.
    fn refuse(unavailable: Unavailable) -> Self;
}

// So that the message names the method's `Result`, not all that `E` can be made from.
#[diagnostic::do_not_recommend]
impl<T, E: From<Unavailable>> Refuse for Result<T, E> {
    fn refuse(unavailable: Unavailable) -> Self {
        Err(unavailable.into())
    }
}

/// The answer of a method that must not write without the store.
pub fn refuse<R: Refuse>(unavailable: Unavailable) -> R {
    R::refuse(unavailable)
}

/// Runs all invalidations, started together: dropping the future later loses none of them.
pub async fn run_all<const N: usize>(invalidations: [Invalidation; N]) {
    for running in invalidations.map(Invalidation::start) {
        running.await;
    }
}
