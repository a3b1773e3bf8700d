//! One cached call: whom it waits for, and whether it leads.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Chance, Inner,
    look::{Found, Need, Want},
    near::Ticket,
};
use crate::{
    flight::{Entered, Followed, Follower, Leader, Moment},
    key::Key,
    policy::Policy,
    stats::{Answer, Tally},
    store::{Acquired, LeaseId, Link, Purpose, Store},
};

/// How long a lease lasts at first. If the answer that grants it is lost on its way, nobody holds it and everybody waits
/// until it lapses.
pub(super) const FIRST_LEASE: Duration = Duration::from_millis(150);

/// How long a renewed lease lasts. A process that stalls for so long loses its lease, and with it the right to store what
/// it loads.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// How often the lease of a load that goes on is renewed.
pub(super) const RENEWAL: Duration = Duration::from_millis(50);

/// A lease that was not renewed for so long is nobody's to wait for: its process has died or stalls.
const SILENCE: Duration = Duration::from_millis(150);

/// The first and the longest pause between two looks at another process's load.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(25));

/// A call that was disappointed so often stops waiting for others. A load that outlasts the load timeout counts for half.
const MOST_TURNS: u32 = 8;

/// One cached call.
pub(super) struct Call<'a> {
    pub(super) inner: &'a Inner,
    pub(super) key: &'a Key,
    pub(super) policy: &'a Policy,
    pub(super) counters: Tally,
    /// The store of this turn: the real one, or the stand-in during an outage.
    pub(super) store: Arc<dyn Store>,
    pub(super) degraded: bool,
    pub(super) absence_refused: bool,
    pub(super) missed: bool,
    /// The lease of a load that this call has waited for in vain.
    outwaited: Option<LeaseId>,
    /// Noted before this turn's first read.
    since: Moment,
    turns: u32,
    pub(super) chance: Chance,
    /// The right to keep a copy of what this turn reads or loads.
    pub(super) ticket: Option<Ticket<'a>>,
}

/// How a lead asks for its lease.
pub(super) struct Asking {
    pub(super) purpose: Purpose,
    /// How long the lease is to last at first.
    pub(super) lasts: Duration,
    /// When it stops to wait for another's load.
    deadline: Instant,
}

/// What asking for a lease led to.
pub(super) enum Asked<T> {
    /// A value.
    Take(Option<Arc<T>>),
    /// The duty to load.
    Lead(Leader),
    /// Another load of this process, to be waited for.
    Follow(Follower),
    /// Another process loads: ask again after a pause.
    Wait(Leader),
    /// Nothing: look again.
    Again,
}

/// What waiting for a load of this process led to.
pub(super) enum Waited<T> {
    /// A value.
    Take(Option<Arc<T>>),
    /// The lead of the flight.
    Promoted(Leader),
    /// The duty to load by itself, without a lease.
    Apart(Leader),
    /// Nothing: look again.
    Again,
}

/// What entering a flight led to.
pub(super) enum Turn<T> {
    /// A value.
    Take(Option<Arc<T>>),
    /// The duty to load.
    Lead(Leader),
    /// Nothing: look again.
    Again,
}

impl<'a> Call<'a> {
    pub(super) fn begin(inner: &'a Inner, key: &'a Key, policy: &'a Policy, chance: Chance) -> Self {
        #[cfg(feature = "metrics")]
        inner.publisher.ensure();
        let since = inner.flights.now();
        let (store, degraded) = inner.store_in_charge();
        let counters = Tally::new(inner.ledger.of(key), degraded);
        if degraded {
            counters.degraded.add(1);
        }
        Self {
            inner,
            key,
            policy,
            counters,
            store,
            degraded,
            absence_refused: false,
            missed: false,
            outwaited: None,
            since,
            turns: 0,
            chance,
            ticket: None,
        }
    }

    /// A stored absence counts as a miss.
    pub(super) fn refusing_absence(mut self) -> Self {
        self.absence_refused = true;
        self
    }

    /// The next turn reads anew, and may join what began since.
    pub(super) fn begin_again(&mut self) {
        self.turns += 1;
        self.since = self.inner.flights.now();
        (self.store, self.degraded) = self.inner.store_in_charge();
    }

    /// Joins a load that is fresh enough for this call, or leads one.
    pub(super) fn enter<T>(&self, need: &Need<T>) -> Entered {
        if self.is_out_of_patience() {
            return Entered::Leader(self.inner.flights.lead_alone(self.key));
        }
        let loading = need.loading.filter(|id| !self.has_outwaited(*id));
        self.inner.flights.enter(self.key, self.since, loading, need.current.is_some())
    }

    /// Whether this call has waited for the load under that lease as long as it waits for anyone.
    fn has_outwaited(&self, lease: LeaseId) -> bool {
        self.outwaited == Some(lease)
    }

    /// How long the lease of a load is asked for. Memory ends with its process, so a lease there needs no renewing and
    /// outlasts loads that block their thread.
    fn lease_span(&self) -> Duration {
        if self.store.holds_objects() { self.inner.load_timeout } else { FIRST_LEASE.min(self.inner.load_timeout) }
    }

    /// Whether whoever holds a lease that lasts for so long has gone silent. One that is shorter lapses soon.
    fn is_forsaken(&self, left: Duration) -> bool {
        // A lease in memory is never renewed: it ends with its process.
        !self.store.holds_objects()
            && left > FIRST_LEASE
            && left < LEASE.min(self.inner.load_timeout).saturating_sub(SILENCE)
    }

    /// Whether this call now loads by itself, without a lease, come what may.
    fn is_out_of_patience(&self) -> bool {
        self.turns >= MOST_TURNS
    }

    /// How to ask for a lease for this lead. `None`: it loads without asking.
    pub(super) fn asking<T>(&self, leader: &Leader, need: &Need<T>) -> Option<Asking> {
        let Want::Store(purpose) = need.want else { return None };
        if leader.lease().is_some() || self.is_out_of_patience() {
            return None;
        }
        Some(Asking { purpose, lasts: self.lease_span(), deadline: Instant::now() + self.inner.load_timeout })
    }

    /// Takes the lease, unless the value turns up or somebody else is about to make it.
    pub(super) async fn prepare<T>(&mut self, mut leader: Leader, need: &Need<T>) -> Turn<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        let Some(mut asking) = self.asking(&leader, need) else { return Turn::Lead(leader) };
        let mut pause = PAUSES.0;
        loop {
            leader = match self.ask(leader, need, &mut asking).await {
                Asked::Take(value) => return Turn::Take(value),
                Asked::Lead(leader) => return Turn::Lead(leader),
                Asked::Follow(follower) => return Box::pin(self.follow(follower, need)).await,
                Asked::Again => return Turn::Again,
                Asked::Wait(leader) => leader,
            };
            tokio::time::sleep(pause).await;
            pause = longer(pause);
        }
    }

    /// Asks for the lease once.
    pub(super) async fn ask<T>(&mut self, leader: Leader, need: &Need<T>, asking: &mut Asking) -> Asked<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        loop {
            match self.store.acquire(self.key, asking.purpose, asking.lasts).await {
                Ok(Acquired::Lease(lease)) => {
                    leader.hold(lease);
                    return Asked::Lead(leader);
                }
                Ok(Acquired::Value(stored)) => match self.judge::<T>(stored) {
                    Found::Hit(hit) => {
                        leader.land(Arc::new(hit.value.clone()), None);
                        return Asked::Take(hit.value);
                    }
                    Found::Need(other) => match other.want {
                        Want::Store(next) if next != asking.purpose => asking.purpose = next,
                        _ => return Asked::Lead(leader),
                    },
                },
                Ok(Acquired::Wait { .. } | Acquired::Gone) if need.early => return Asked::Take(need.serve_current()),
                Ok(Acquired::Wait { lease, left }) => return self.await_another(leader, need, asking, lease, left),
                Ok(Acquired::Gone) => {
                    leader.dissolve();
                    return Asked::Again;
                }
                Ok(Acquired::Held) => {
                    self.counters.held.add(1);
                    self.counters.answered_by(Answer::Held);
                    return Asked::Lead(leader);
                }
                Err(_) => {
                    self.counters.store_errors.add(1);
                    return Asked::Lead(leader);
                }
            }
        }
    }

    /// What to do about a lease that somebody else has: join its load if that is one of this process, wait for it, or load
    /// beside it if it has been waited for long enough.
    fn await_another<T>(
        &self,
        leader: Leader,
        need: &Need<T>,
        asking: &Asking,
        lease: LeaseId,
        left: Duration,
    ) -> Asked<T> {
        let joinable = !self.has_outwaited(lease);
        let replaces = match asking.purpose {
            Purpose::Load { .. } => None,
            Purpose::Refresh(value) => Some(value),
        };
        let join = || self.inner.flights.join_lease(self.key, lease, replaces, need.current.is_some());
        if let Some(follower) = joinable.then(join).flatten() {
            leader.dissolve();
            return Asked::Follow(follower);
        }
        if Instant::now() >= asking.deadline || self.is_forsaken(left) {
            return Asked::Lead(leader);
        }
        Asked::Wait(leader)
    }

    /// Waits for another's load, and goes on from there.
    pub(super) async fn follow<T>(&mut self, follower: Follower, need: &Need<T>) -> Turn<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        match self.wait_for(follower, need).await {
            Waited::Take(value) => Turn::Take(value),
            Waited::Promoted(leader) => Box::pin(self.prepare(leader, need)).await,
            Waited::Apart(leader) => Turn::Lead(leader),
            Waited::Again => Turn::Again,
        }
    }

    /// Waits for another's load.
    pub(super) async fn wait_for<T>(&mut self, mut follower: Follower, need: &Need<T>) -> Waited<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        if need.early {
            return Waited::Take(need.serve_current());
        }
        match tokio::time::timeout(self.inner.load_timeout, &mut follower).await {
            Ok(Followed::Landed(landed)) => match landed.downcast_ref::<Option<Arc<T>>>() {
                Some(value) if value.is_some() || !self.absence_refused => {
                    self.joined();
                    Waited::Take(value.clone())
                }
                // Another type under this key, or an absence that this call does not take.
                _ => Waited::Apart(self.inner.flights.lead_alone(self.key)),
            },
            Ok(Followed::Lead(leader)) => Waited::Promoted(leader),
            Ok(Followed::Failed) => match self.still_valid(need).await {
                Some(value) => Waited::Take(value),
                None => Waited::Again,
            },
            Ok(Followed::Again) => Waited::Again,
            Err(_) => {
                self.outwaited = follower.lease();
                self.turns += MOST_TURNS / 2;
                Waited::Again
            }
        }
    }
}

/// The pause after this one.
pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 3 / 2).min(PAUSES.1)
}

impl Inner {
    /// The store that answers now, and whether it is the stand-in.
    pub(super) fn store_in_charge(&self) -> (Arc<dyn Store>, bool) {
        let link = self.store.link().map(|link| *link.borrow());
        if link.is_some() {
            self.watch.ensure(&self.store);
        }
        match link {
            Some(Link::Down { since, .. }) => (self.stand_in.during(since), true),
            None | Some(Link::Up) => (Arc::clone(&self.store), false),
        }
    }
}
