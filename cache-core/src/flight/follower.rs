//! A caller that waits for another's load.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{Flight, Flights, Landed, Leader, Waiting};
use crate::{store::LeaseId, sync::lock};

/// Waits for the flight's end, or for the lead.
pub(crate) struct Follower {
    flight: Arc<Flight>,
    flights: Arc<Flights>,
    seat: u64,
    failures: u32,
    /// Joined for this lease: only a value that was loaded under it is fresh enough.
    only: Option<LeaseId>,
    has_stale: bool,
}

/// How following ended.
pub(crate) enum Followed {
    /// The value.
    Landed(Landed),
    /// The leader is gone: lead on.
    Lead(Leader),
    /// The load failed, and this follower holds a stale value to serve.
    Failed,
    /// Start again.
    Again,
}

impl Follower {
    /// Takes a seat, unless the flight is over without a value.
    pub(super) fn join(
        flight: &Arc<Flight>,
        flights: &Arc<Flights>,
        only: Option<LeaseId>,
        has_stale: bool,
    ) -> Option<Self> {
        let mut state = lock(&flight.state);
        let is_of_use = match &state.end {
            None => state.leading > 0,
            Some(end) => end.value_for(only).is_some(),
        };
        if !is_of_use {
            return None;
        }
        let seat = state.next_seat;
        state.next_seat += 1;
        let failures = state.failures;
        state.waiting.push(Waiting { seat, waker: std::task::Waker::noop().clone(), promoted: false });
        drop(state);
        Some(Self { flight: Arc::clone(flight), flights: Arc::clone(flights), seat, failures, only, has_stale })
    }

    /// The lease of the load that it waits for.
    pub(crate) fn lease(&self) -> Option<LeaseId> {
        lock(&self.flight.state).lease.as_ref().map(|lease| lease.id)
    }
}

impl Future for Follower {
    type Output = Followed;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Followed> {
        let this = self.get_mut();
        let mut state = lock(&this.flight.state);
        if let Some(end) = &state.end {
            return Poll::Ready(end.value_for(this.only).map_or(Followed::Again, Followed::Landed));
        }
        let failed = state.failures > this.failures;
        let Some(at) = state.waiting.iter().position(|waiting| waiting.seat == this.seat) else {
            return Poll::Ready(Followed::Again);
        };
        if this.has_stale && failed {
            // Leaving the seat is the business of `drop`, which also passes a lead on.
            return Poll::Ready(Followed::Failed);
        }
        if state.waiting[at].promoted {
            state.waiting.remove(at);
            drop(state);
            return Poll::Ready(Followed::Lead(Leader::new(Arc::clone(&this.flight), Arc::clone(&this.flights))));
        }
        state.waiting[at].waker.clone_from(context.waker());
        Poll::Pending
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = lock(&self.flight.state);
        let Some(at) = state.waiting.iter().position(|waiting| waiting.seat == self.seat) else { return };
        let left = state.waiting.remove(at);
        drop(state);
        if left.promoted {
            self.flight.step_down(&self.flights);
        }
    }
}
