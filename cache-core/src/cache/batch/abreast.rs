//! Futures side by side, at most so many at once.
//!
//! A store bounds each call, and the time that a call waits behind others of its own kind counts. So a batch of any size has a
//! bounded number of calls under way.

use std::future::Future;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

pub(in crate::cache) struct Abreast<F> {
    running: FuturesUnordered<F>,
    most: usize,
}

impl<F: Future> Abreast<F> {
    /// At most `most` at once, and at least one.
    pub(in crate::cache) fn new(most: usize) -> Self {
        Self { running: FuturesUnordered::new(), most: most.max(1) }
    }

    /// Adds a future. If there is no room, another one ends first, and this is what it came to.
    ///
    /// What is added runs when this or [`Abreast::next`] is awaited.
    pub(in crate::cache) async fn add(&mut self, future: F) -> Option<F::Output> {
        let ended = if self.running.len() >= self.most { self.running.next().await } else { None };
        self.running.push(future);
        ended
    }

    /// What the next one to end comes to; `None` when none is left.
    pub(in crate::cache) async fn next(&mut self) -> Option<F::Output> {
        self.running.next().await
    }
}

/// Runs all of these, at most `most` at once. What they come to is in the order in which they ended.
///
/// A list of them, and no iterator: the compiler would not see that a future which holds the closure of one may be sent.
pub(in crate::cache) async fn all<F: Future>(futures: Vec<F>, most: usize) -> Vec<F::Output> {
    let mut abreast = Abreast::new(most);
    let mut ended = Vec::with_capacity(futures.len());
    for future in futures {
        ended.extend(abreast.add(future).await);
    }
    while let Some(output) = abreast.next().await {
        ended.push(output);
    }
    ended
}
