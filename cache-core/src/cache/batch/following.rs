//! The loads of others that a batch waits for.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures_util::stream::{FuturesUnordered, Stream as _};
use serde::{Serialize, de::DeserializeOwned};

use super::Item;
use crate::{
    cache::{call::Waited, look::Need},
    flight::Follower,
};

/// A load that has been waited for, and what came of it.
pub(super) struct Ended<'a, T> {
    pub(super) item: Item<'a>,
    pub(super) need: Need<T>,
    pub(super) waited: Waited<T>,
}

impl<T> Ended<'_, T> {
    fn pass_on(&mut self) {
        if matches!(self.waited, Waited::Promoted(_)) {
            // Dropped here, the lead is the next follower's.
            self.waited = Waited::Again;
        }
    }
}

/// The loads of others that a batch waits for.
///
/// They are followed whatever the batch does meanwhile. A follower that is given the lead wakes up to it at once, so that
/// nobody else waits for a batch that is busy with something else.
pub(super) struct Following<'a, T> {
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Ended<'a, T>> + Send + 'a>>>,
    ended: Vec<Ended<'a, T>>,
}

impl<'a, T> Following<'a, T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self { running: FuturesUnordered::new(), ended: Vec::new() }
    }

    pub(super) fn add(&mut self, mut item: Item<'a>, need: Need<T>, follower: Follower) {
        self.running.push(Box::pin(async move {
            let waited = item.call.wait_for(follower, &need).await;
            Ended { item, need, waited }
        }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.ended.is_empty()
    }

    /// Those that have ended.
    pub(super) fn ended(&mut self) -> Vec<Ended<'a, T>> {
        std::mem::take(&mut self.ended)
    }

    /// Passes on the leads among them.
    pub(super) fn pass_on(&mut self) {
        self.ended.iter_mut().for_each(Ended::pass_on);
    }

    /// Waits until one has ended; for ever if there is none.
    pub(super) async fn one(&mut self) {
        poll_fn(|context| {
            self.advance(context, false);
            if self.ended.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Follows while `work` runs.
    pub(super) async fn beside<O>(&mut self, work: impl Future<Output = O>) -> O {
        self.drive(work, false).await
    }

    /// Follows while `load` runs, which may take long. Whoever is given a lead meanwhile passes it on: the load has begun
    /// without it.
    pub(super) async fn beside_load<O>(&mut self, load: impl Future<Output = O>) -> O {
        self.drive(load, true).await
    }

    async fn drive<O>(&mut self, work: impl Future<Output = O>, passes_on: bool) -> O {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.advance(context, passes_on);
            work.as_mut().poll(context)
        })
        .await
    }

    fn advance(&mut self, context: &mut Context<'_>, passes_on: bool) {
        while let Poll::Ready(Some(mut ended)) = Pin::new(&mut self.running).poll_next(context) {
            if passes_on {
                ended.pass_on();
            }
            self.ended.push(ended);
        }
    }
}
