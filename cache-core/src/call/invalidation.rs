//! What `#[invalidates]` does once the body is through.
//!
//! Between the end of the body and the start of the invalidation there is no await, and [`Cache::invalidate`] starts
//! by handing its work to a task: a future that is dropped after the body finished loses nothing.

use std::{future::poll_fn, pin::pin, task::Poll};

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
    /// The cache.
    pub cache: Cache,
    /// What to invalidate.
    pub targets: Vec<Target>,
}

/// Runs all invalidations, started together: dropping the future later loses none of them.
pub async fn run_all(invalidations: Vec<Invalidation>) {
    let mut running: Vec<_> = invalidations
        .into_iter()
        .filter(|invalidation| !invalidation.targets.is_empty())
        .map(|Invalidation { cache, targets }| Some(Box::pin(async move { cache.invalidate(targets).await })))
        .collect();
    let all = poll_fn(move |context| {
        let mut pending = false;
        for slot in &mut running {
            if let Some(invalidation) = slot {
                match invalidation.as_mut().poll(context) {
                    // The outcome shows in `Cache::health` and its events; a method has no place to return it.
                    Poll::Ready(_) => *slot = None,
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    });
    pin!(all).await;
}
