//! Invalidating everywhere.

use std::{
    future::Future,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tracing::{Instrument as _, Span};

use super::{Cache, Inner};
use crate::{
    events::Event,
    key::Target,
    store::{Outcome, StoreError},
    trace::{self, Seldom},
};

/// What is said seldom.
#[derive(Default)]
pub(super) struct Troubles {
    invalidation: Seldom,
    pub(super) hold: Seldom,
}

impl Cache {
    /// Whether the store is this process's memory, which answers without waiting.
    pub(crate) fn is_in_process(&self) -> bool {
        self.inner.memory.is_some()
    }

    /// Begins to invalidate at once: memory is through when this returns. What has to wait goes on in a task of its own, so
    /// that a caller that goes away does not take the invalidation with it.
    pub(crate) fn start_invalidating(&self, targets: Vec<Target>) -> impl Future<Output = Outcome> + use<> {
        let inner = Arc::clone(&self.inner);
        let begun = if targets.is_empty() {
            Ok(Outcome::Applied)
        } else {
            let span = trace::invalidate(targets.len());
            let mut work = Box::pin(async move { inner.invalidate(targets).await }.instrument(span));
            match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => Ok(outcome),
                Poll::Pending => Err(tokio::spawn(work)),
            }
        };
        async move {
            match begun {
                Ok(outcome) => outcome,
                // The task ends early only if the runtime shuts down.
                Err(task) => task.await.unwrap_or(Outcome::Journaled),
            }
        }
    }
}

impl Inner {
    async fn invalidate(&self, targets: Vec<Target>) -> Outcome {
        let began = Instant::now();
        self.invalidate_stand_in(&targets).await;
        let outcome = self.store.invalidate(&targets).await;
        // Not earlier: what was read before the store had removed it must not be kept.
        self.forget_copies(&targets);
        self.invalidated(targets, outcome, began)
    }

    /// The stand-in comes first: what it serves must be gone by the time a journaled invalidation returns.
    pub(super) async fn invalidate_stand_in(&self, targets: &[Target]) {
        if let Some(stand_in) = self.stand_in.latest() {
            // Memory answers every invalidation.
            let _ = stand_in.invalidate(targets).await;
        }
    }

    /// Counts and announces an invalidation that has come to its end.
    pub(super) fn invalidated(
        &self,
        targets: Vec<Target>,
        outcome: Result<Outcome, StoreError>,
        began: Instant,
    ) -> Outcome {
        let outcome = outcome.unwrap_or_else(|error| {
            if let Some(kept_back) = self.troubles.invalidation.may_say() {
                tracing::error!(%error, ?targets, kept_back, "an invalidation could be neither applied nor queued");
            }
            Outcome::Journaled
        });
        self.ledger.invalidations.count(&targets, outcome);
        self.meter.invalidated(outcome, began.elapsed());
        Span::current().record("staleproof.outcome", outcome.name());
        self.announcer.announce(|| Event::Invalidated { targets, outcome });
        outcome
    }
}
