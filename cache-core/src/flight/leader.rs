//! The caller that loads.

use std::sync::Arc;

use super::{End, Flight, Flights, Landed, MOST_SIDE_BY_SIDE};
use crate::{
    store::{Lease, LeaseId},
    sync::lock,
};

/// The duty to load for a flight. Dropping it hands the duty on, to a follower if there is one.
pub(crate) struct Leader {
    flight: Arc<Flight>,
    flights: Arc<Flights>,
}

impl Leader {
    pub(super) fn new(flight: Arc<Flight>, flights: Arc<Flights>) -> Self {
        Self { flight, flights }
    }

    /// The lease that this leader, or the one before it, was given.
    pub(crate) fn lease(&self) -> Option<Lease> {
        lock(&self.flight.state).lease.clone()
    }

    /// Notes the lease, for successors and for callers whose read shows it.
    pub(crate) fn hold(&self, lease: Lease) {
        lock(&self.flight.state).lease = Some(lease);
    }

    /// Forgets this lease: it was used up by a fill, given back, or lost.
    pub(crate) fn let_go(&self, id: LeaseId) {
        let mut state = lock(&self.flight.state);
        if state.lease.as_ref().is_some_and(|lease| lease.id == id) {
            state.lease = None;
        }
    }

    /// Gives the value to all followers. The flight can be joined until the leader is dropped, so that a caller that
    /// reads the lease before the fill took its place still gets the value.
    ///
    /// `under`: the lease that this very load began under. Where several load side by side, that is not always the
    /// flight's: it may be older.
    pub(crate) fn land(&self, value: Landed, under: Option<LeaseId>) {
        self.finish(End::Landed { value, under });
    }

    /// Sends all followers back to the start.
    pub(crate) fn dissolve(self) {
        self.finish(End::Dissolved);
    }

    /// The load failed. Returns the lease if nobody is left who could use it.
    pub(crate) fn fail(self) -> Option<Lease> {
        let mut state = lock(&self.flight.state);
        state.failures += 1;
        state.allowed = (state.allowed * 2).min(MOST_SIDE_BY_SIDE);
        // Followers that hold a stale value leave at a failure: wake everyone who does not get the lead.
        let wakers: Vec<_> = state.waiting.iter().map(|waiting| waiting.waker.clone()).collect();
        let unused = state.unused();
        drop(state);
        wakers.into_iter().for_each(std::task::Waker::wake);
        unused
    }

    /// Takes the lease if nobody but this leader could use it. For a leader that is about to go: whoever comes in between
    /// leads without a lease, and asks for one.
    pub(crate) fn unused(&self) -> Option<Lease> {
        lock(&self.flight.state).unused()
    }

    fn finish(&self, end: End) {
        let mut state = lock(&self.flight.state);
        if state.end.is_some() {
            return;
        }
        let wakers = state.end(end);
        drop(state);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.flight.step_down(&self.flights);
    }
}
