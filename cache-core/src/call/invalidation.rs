//! What `#[invalidates]` does once the body is through.
//!
//! Between the end of the body and the start of the invalidation there is no await, and [`Cache::invalidate`] starts
//! by handing its work to a task: a future that is dropped after the body finished loses nothing.

use std::{future::poll_fn, task::Poll};

use crate::{Cache, Target};

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
}

impl Invalidation {
    /// Of targets that are known before the body runs.
    pub fn new<const N: usize>(cache: &Cache, targets: [Target; N]) -> Self {
        Self { cache: cache.clone(), targets: targets.into() }
    }

    /// Adds the targets that are known now, or withdraws all if the body failed.
    pub fn settle<const N: usize>(&mut self, targets: Option<[Target; N]>) {
        match targets {
            Some(targets) => self.targets.extend(targets),
            None => self.targets.clear(),
        }
    }
}

/// Runs all invalidations, started together: dropping the future later loses none of them.
pub async fn run_all<const N: usize>(invalidations: [Invalidation; N]) {
    let mut running = invalidations.map(|Invalidation { cache, targets }| {
        if targets.is_empty() {
            return None;
        }
        let invalidate = async move {
            // It shows in the cache's events and health; a method has no place to return it.
            let _outcome = cache.invalidate(targets).await;
        };
        Some(Box::pin(invalidate))
    });
    poll_fn(move |context| {
        let mut pending = false;
        for slot in &mut running {
            if slot.as_mut().is_some_and(|invalidation| invalidation.as_mut().poll(context).is_pending()) {
                pending = true;
            } else {
                *slot = None;
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}
