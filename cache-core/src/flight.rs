//! Single flight: of the callers that miss one key at once, one loads and the others take its value.
//!
//! A *flight* is a load with a *leader* and its *followers*. Whoever misses [enters](Flights::enter): it joins a
//! flight that is fresh enough for it, or leads a new one. What "fresh enough" means is the point of this module:
//!
//! - A caller may join a flight only if the flight began after the caller did, or if the caller's own read of the
//!   store showed that flight's lease. Otherwise the load may have read its source before an invalidation that had
//!   returned when the caller began, and the caller would be served what it must not see. Several flights of one key may
//!   thus be under way.
//! - Whoever joined for a lease takes only a value that was loaded under that lease. Where loads run side by side, after a
//!   failure, one of them may have begun under an older lease that an invalidation has removed since, and may be the
//!   first to end.
//! - A leader that is dropped or panics hands over at once: one follower leads on, with the lease.
//! - A leader whose load fails hands over too, because the error belongs to its own caller. Each failure in a row
//!   doubles how many may load side by side, so that a thousand followers of a failing source neither wait in line one
//!   by one nor rush at it together.
//! - No follower is ever left waiting: whatever ends a flight wakes all of them, and a follower that is dropped with the
//!   lead in its hands passes it on.
//!
//! The order of beginnings is kept by a counter: a flight takes the next number when it begins, and a caller notes
//! the newest number when it does. The flight began later exactly if its number is greater.

mod follower;
mod leader;
#[cfg(all(test, feature = "__shuttle"))]
mod model;
#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;

use std::{
    any::Any,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    task::Waker,
};

pub(crate) use follower::{Followed, Follower};
pub(crate) use leader::Leader;

use crate::{
    key::Key,
    mutant::{self, Mutant},
    store::{Lease, LeaseId},
    sync::{AtomicU64, Mutex, Ordering, lock},
};

/// A loaded value on its way from the leader to its followers.
pub(crate) type Landed = Arc<dyn Any + Send + Sync>;

/// Called with the lease of a flight that ended without a fill and with nobody left to go on.
type Abandoned = Box<dyn Fn(&Key, Lease) + Send + Sync>;

const SHARDS: usize = 64;

/// Failures in a row double the number of loads side by side, up to this.
const MOST_SIDE_BY_SIDE: usize = 64;

/// A moment in the order of beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// All loads under way.
pub(crate) struct Flights {
    begun: AtomicU64,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<String, Vec<Arc<Flight>>>>>,
    abandoned: Abandoned,
}

/// What a caller that missed became.
pub(crate) enum Entered {
    /// It loads.
    Leader(Leader),
    /// It waits for a load that is fresh enough for it.
    Follower(Follower),
}

struct Flight {
    key: Key,
    began: Moment,
    state: Mutex<State>,
}

struct State {
    lease: Option<Lease>,
    end: Option<End>,
    /// Leaders at work, and followers that were given the lead but have not woken up to it.
    leading: usize,
    /// How many may lead at once: 1, and twice as many with each failure.
    allowed: usize,
    failures: u32,
    next_seat: u64,
    /// In order of arrival.
    waiting: Vec<Waiting>,
}

struct Waiting {
    seat: u64,
    waker: Waker,
    /// Given the lead, but not yet awake.
    promoted: bool,
}

#[derive(Clone)]
enum End {
    /// A value, and the lease that its load began under.
    Landed {
        value: Landed,
        under: Option<LeaseId>,
    },
    Dissolved,
}

impl Flights {
    pub(crate) fn new(abandoned: impl Fn(&Key, Lease) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            begun: AtomicU64::new(0),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
            abandoned: Box::new(abandoned),
        })
    }

    /// Now, to be noted before the caller's first read.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.begun.load(Ordering::SeqCst))
    }

    /// Joins a flight of `key` that began after `since`, or whose lease is `loading`; leads a new one otherwise.
    ///
    /// `has_stale`: the caller holds an expired value that it serves if the load fails, so it needs no load of its own then.
    pub(crate) fn enter(
        self: &Arc<Self>,
        key: &Key,
        since: Moment,
        loading: Option<LeaseId>,
        has_stale: bool,
    ) -> Entered {
        let mut shard = lock(self.shard(key.as_str()));
        let flights = shard.entry(key.as_str().to_owned()).or_default();
        for flight in flights.iter().rev() {
            let is_fresh = flight.began > since || flight.carries(loading, None) || mutant::is(Mutant::JoinsOlderLoads);
            // Who may join for the lease only takes what was loaded under it.
            let only = loading.filter(|_| flight.began <= since && !mutant::is(Mutant::JoinsOlderLoads));
            if let Some(follower) = is_fresh.then(|| Follower::join(flight, self, only, has_stale)).flatten() {
                return Entered::Follower(follower);
            }
        }
        // The number is taken under the shard's lock, so the newest flight of a key is its last.
        let began = Moment(self.begun.fetch_add(1, Ordering::SeqCst) + 1);
        let flight = Arc::new(Flight::new(key.clone(), began));
        flights.push(Arc::clone(&flight));
        Entered::Leader(Leader::new(flight, Arc::clone(self)))
    }

    /// Leads a flight that nobody can join.
    pub(crate) fn lead_alone(self: &Arc<Self>, key: &Key) -> Leader {
        Leader::new(Arc::new(Flight::new(key.clone(), Moment(0))), Arc::clone(self))
    }

    /// Joins the flight of this process that holds `lease`, if there is one.
    ///
    /// `replaces`: the value that the caller has seen and wants to be replaced. A lease beside a value may outlive it, and
    /// stand beside the next one: then its load began before an invalidation, and is not for a caller that saw the next.
    pub(crate) fn join_lease(
        self: &Arc<Self>,
        key: &Key,
        lease: LeaseId,
        replaces: Option<LeaseId>,
        has_stale: bool,
    ) -> Option<Follower> {
        let shard = lock(self.shard(key.as_str()));
        let flight = shard.get(key.as_str())?.iter().find(|flight| flight.carries(Some(lease), replaces))?;
        Follower::join(flight, self, Some(lease), has_stale)
    }

    fn forget(&self, flight: &Arc<Flight>) {
        let mut shard = lock(self.shard(flight.key.as_str()));
        if let Some(flights) = shard.get_mut(flight.key.as_str()) {
            flights.retain(|other| !Arc::ptr_eq(other, flight));
            if flights.is_empty() {
                shard.remove(flight.key.as_str());
            }
        }
    }

    fn shard(&self, key: &str) -> &Mutex<HashMap<String, Vec<Arc<Flight>>>> {
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        &self.shards[hash]
    }
}

impl End {
    /// The value, if there is one for a follower that joined for this lease, or for any load of the flight.
    fn value_for(&self, only: Option<LeaseId>) -> Option<Landed> {
        match self {
            Self::Landed { value, under } if only.is_none() || only == *under || mutant::is(Mutant::TakesAnyLease) => {
                Some(Arc::clone(value))
            }
            _ => None,
        }
    }
}

impl Flight {
    fn new(key: Key, began: Moment) -> Self {
        let state =
            State { lease: None, end: None, leading: 1, allowed: 1, failures: 0, next_seat: 0, waiting: Vec::new() };
        Self { key, began, state: Mutex::new(state) }
    }

    /// Whether it holds this lease, for an absent value or in the place of `replaces`.
    fn carries(&self, loading: Option<LeaseId>, replaces: Option<LeaseId>) -> bool {
        let is_it = |lease: &Lease| {
            Some(lease.id) == loading && (lease.replaces == replaces || mutant::is(Mutant::JoinsRefreshOfAnother))
        };
        lock(&self.state).lease.as_ref().is_some_and(is_it)
    }

    /// One leader fewer. Gives the lead to as many followers as may have it; without any left, the flight is over.
    fn step_down(self: &Arc<Self>, flights: &Flights) {
        let mut state = lock(&self.state);
        state.leading -= 1;
        let wakers = state.promote();
        let over = state.leading == 0;
        if over && state.end.is_none() {
            state.end = Some(End::Dissolved);
        }
        let unfilled = if over { state.lease.take() } else { None };
        drop(state);
        if over {
            flights.forget(self);
        }
        if let Some(lease) = unfilled {
            (flights.abandoned)(&self.key, lease);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn promote(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.end.is_some() {
            return wakers;
        }
        for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.promoted) {
            if self.leading >= self.allowed {
                break;
            }
            waiting.promoted = true;
            self.leading += 1;
            wakers.push(waiting.waker.clone());
        }
        wakers
    }

    /// The lease, if there is one leader and nobody waits.
    fn unused(&mut self) -> Option<Lease> {
        if self.waiting.is_empty() && self.leading == 1 { self.lease.take() } else { None }
    }

    fn end(&mut self, end: End) -> Vec<Waker> {
        self.end = Some(end);
        self.waiting.iter().map(|waiting| waiting.waker.clone()).collect()
    }
}
