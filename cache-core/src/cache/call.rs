//! One cached call: whom it waits for, and whether it leads.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Chance, Inner,
    look::{Found, Need, Want},
};
use crate::{
    flight::{Entered, Followed, Follower, Leader, Moment},
    key::Key,
    policy::Policy,
    stats::Counters,
    store::{Acquired, LeaseId, Link, Purpose, Store},
};

/// How long a lease lasts at first. If the answer that grants it is lost on its way, nobody holds it and everybody waits
/// until it lapses.
const FIRST_LEASE: Duration = Duration::from_millis(200);

/// How long a renewed lease lasts: a loader whose process dies holds up the others for no longer. Not shorter, since a
/// process that stalls for so long loses its lease, and with it the right to store what it loads.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// When a load has run for so long, its lease is renewed, and then again and again.
pub(super) const RENEWALS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));

/// The first and the longest pause between two looks at another process's load.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(25));

/// A call that was disappointed so often stops waiting for others. A load that outlasts the load timeout counts for half.
const MOST_TURNS: u32 = 8;

/// One cached call.
pub(super) struct Call<'a> {
    pub(super) inner: &'a Inner,
    pub(super) key: &'a Key,
    pub(super) policy: &'a Policy,
    pub(super) counters: Arc<Counters>,
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
        let since = inner.flights.now();
        let (store, degraded) = inner.store_in_charge();
        let counters = inner.ledger.of(key);
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

    /// Whether this call now loads by itself, without a lease, come what may.
    fn is_out_of_patience(&self) -> bool {
        self.turns >= MOST_TURNS
    }

    /// Takes the lease, unless the value turns up or somebody else is about to make it.
    pub(super) async fn prepare<T>(&mut self, leader: Leader, need: &Need<T>) -> Turn<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        let Want::Store(mut purpose) = need.want else { return Turn::Lead(leader) };
        if leader.lease().is_some() || self.is_out_of_patience() {
            return Turn::Lead(leader);
        }
        let deadline = Instant::now() + self.inner.load_timeout;
        let mut pause = PAUSES.0;
        loop {
            let acquired = self.store.acquire(self.key, purpose, self.lease_span()).await;
            match acquired {
                Ok(Acquired::Lease(lease)) => {
                    leader.hold(lease);
                    return Turn::Lead(leader);
                }
                Ok(Acquired::Value(stored)) => match self.judge::<T>(stored) {
                    Found::Hit(hit) => {
                        leader.land(Arc::new(hit.value.clone()), None);
                        return Turn::Take(hit.value);
                    }
                    Found::Need(other) => match other.want {
                        Want::Store(next) if next != purpose => purpose = next,
                        _ => return Turn::Lead(leader),
                    },
                },
                Ok(Acquired::Wait(_) | Acquired::Gone) if need.early => return Turn::Take(need.serve_current()),
                Ok(Acquired::Wait(id)) => {
                    let joinable = !self.has_outwaited(id);
                    let replaces = match purpose {
                        Purpose::Load { .. } => None,
                        Purpose::Refresh(value) => Some(value),
                    };
                    let join = || self.inner.flights.join_lease(self.key, id, replaces, need.current.is_some());
                    if let Some(follower) = joinable.then(join).flatten() {
                        leader.dissolve();
                        return Box::pin(self.follow(follower, need)).await;
                    }
                    if Instant::now() >= deadline {
                        return Turn::Lead(leader);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 3 / 2).min(PAUSES.1);
                }
                Ok(Acquired::Gone) => {
                    leader.dissolve();
                    return Turn::Again;
                }
                Ok(Acquired::Held) => {
                    self.counters.held.add(1);
                    return Turn::Lead(leader);
                }
                Err(_) => {
                    self.counters.store_errors.add(1);
                    return Turn::Lead(leader);
                }
            }
        }
    }

    /// Waits for another's load.
    pub(super) async fn follow<T>(&mut self, mut follower: Follower, need: &Need<T>) -> Turn<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        if need.early {
            return Turn::Take(need.serve_current());
        }
        match tokio::time::timeout(self.inner.load_timeout, &mut follower).await {
            Ok(Followed::Landed(landed)) => match landed.downcast_ref::<Option<Arc<T>>>() {
                Some(value) if value.is_some() || !self.absence_refused => {
                    self.joined();
                    Turn::Take(value.clone())
                }
                // Another type under this key, or an absence that this call does not take: load, apart from the others.
                _ => Turn::Lead(self.inner.flights.lead_alone(self.key)),
            },
            Ok(Followed::Lead(leader)) => Box::pin(self.prepare(leader, need)).await,
            Ok(Followed::Failed) => match self.still_valid(need).await {
                Some(value) => Turn::Take(value),
                None => Turn::Again,
            },
            Ok(Followed::Again) => Turn::Again,
            Err(_) => {
                self.outwaited = follower.lease();
                self.turns += MOST_TURNS / 2;
                Turn::Again
            }
        }
    }
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
