//! What a batch loads itself: its leases while the load runs, and what becomes of the answer.

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{Item, READS, abreast};
use crate::{
    cache::{
        Loaded,
        builder::give_back,
        call::{Call, FIRST_LEASE, LEASE, RENEWAL},
        lead::Renewal,
        look::{Current, Need},
    },
    flight::Leader,
    key::Key,
    mutant::{self, Mutant},
    store::{Lease, Store},
};

/// How many calls that write are under way at once.
pub(super) const WRITES: usize = 128;

/// How many leases are renewed or given back at once: others are waited for, these are not.
const ASIDE: usize = 32;

/// What the renewal of one lease may cost the store. The renewals of a large batch are spread accordingly.
const RENEWAL_OF_ONE: Duration = Duration::from_micros(100);

/// How the leases of a batch are kept: those of a small one as those of single calls.
///
/// A large batch renews less often, so its leases last longer. That of a process that has died is waited for as much longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long a lease lasts at first.
    pub(super) first: Duration,
    pub(super) lasts: Duration,
    pub(super) every: Duration,
}

impl Pace {
    pub(super) fn of(leases: usize) -> Self {
        let every = RENEWAL_OF_ONE.saturating_mul(u32::try_from(leases).unwrap_or(u32::MAX));
        if every <= RENEWAL {
            return Self { first: FIRST_LEASE, lasts: LEASE, every: RENEWAL };
        }
        // One period to wait, one that the renewals themselves may take, and as much again for a slow machine. Less than LEASE is
        // never left then, which others would take for the silence of a process that has died.
        let lasts = LEASE + 4 * every;
        Self { first: lasts, lasts, every }
    }
}

/// An entry that this batch loads.
struct One<'a, T> {
    item: Item<'a>,
    why: Why<T>,
}

/// Why an entry is loaded.
enum Why<T> {
    /// It is this call's to load.
    Lead {
        leader: Leader,
        need: Need<T>,
        /// The lease that the load begins under. While it runs, the flight may come to another one, by a load that runs
        /// beside this one after a failure; that lease is newer than what this load reads.
        lease: Option<Lease>,
    },
    /// The hit is to be compared.
    Verify(Current<T>),
}

/// The entries that one load is for.
pub(super) struct Led<'a, T>(Vec<One<'a, T>>);

/// A lease, where it is.
type Held = (Arc<dyn Store>, Key, Lease);

impl<'a, T> Led<'a, T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes an entry whose load has not begun.
    pub(super) fn lead(&mut self, item: Item<'a>, leader: Leader, need: Need<T>) {
        let lease = leader.lease();
        self.0.push(One { item, why: Why::Lead { leader, need, lease } });
    }

    pub(super) fn verify(&mut self, item: Item<'a>, hit: Current<T>) {
        self.0.push(One { item, why: Why::Verify(hit) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The places of the entries in the batch, in order.
    pub(super) fn places(&mut self) -> Vec<usize> {
        self.0.sort_by_key(|one| one.item.at);
        self.0.iter().map(|one| one.item.at).collect()
    }
}

impl<T> Led<'_, T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Keeps the leases alive, in a task of its own, since a load may block the thread that polls it: until they are lost, or the load
    /// has taken so long that others may start their own.
    pub(super) fn renewing(&self, load_timeout: Duration) -> Option<Renewal> {
        let leased = self.0.iter().filter_map(|one| match &one.why {
            // The lease in memory is as long as a load may take.
            Why::Lead { lease: Some(lease), .. } if !one.item.call.store.holds_objects() => {
                Some(held(&one.item.call, lease.clone()))
            }
            _ => None,
        });
        let mut held: Vec<Held> = leased.collect();
        let counters = Arc::clone(&self.0.first()?.item.call.counters);
        if held.is_empty() {
            return None;
        }
        let pace = Pace::of(held.len());
        let deadline = Instant::now() + load_timeout;
        // The leases of a large batch are as old as it took to get them all.
        let mut pause = if pace.every > RENEWAL { Duration::ZERO } else { pace.every };
        Renewal::spawn(async move {
            while !held.is_empty() {
                tokio::time::sleep(std::mem::replace(&mut pause, pace.every)).await;
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                let renewals = std::mem::take(&mut held).into_iter().map(|(store, key, lease)| async move {
                    let renewed = store.renew(&key, &lease, pace.lasts.min(left)).await;
                    (renewed, (store, key, lease))
                });
                for (renewed, one) in abreast::all(renewals.collect(), ASIDE).await {
                    match renewed {
                        Ok(true) => held.push(one),
                        Ok(false) => {}
                        Err(_) => {
                            counters.store_errors.add(1);
                            held.push(one);
                        }
                    }
                }
            }
        })
    }

    /// The function of these entries.
    pub(super) fn function(&self) -> &str {
        self.0.first().map_or("", |one| one.item.call.key.prefix())
    }

    /// Counts the load as one of each entry, which took its share of the time.
    pub(super) fn loaded(&self, took: Duration, ok: bool) {
        let leads = self.0.iter().filter(|one| matches!(one.why, Why::Lead { .. }));
        let share = took / u32::try_from(self.0.len()).unwrap_or(u32::MAX).max(1);
        leads.for_each(|one| one.item.call.loaded(took, share, ok));
        if let Some(One { item: Item { call, .. }, .. }) = self.0.first() {
            call.inner.meter.loaded(call.counters.name(), took, ok);
        }
    }

    /// Hands the values to whoever waits for them, then stores them. What each entry is served.
    pub(super) async fn land(&self, loaded: Vec<Loaded<T>>, took: Duration) -> Vec<(usize, Option<Arc<T>>)> {
        let mut served = Vec::with_capacity(loaded.len());
        let mut fills = Vec::new();
        for (One { item, why }, loaded) in self.0.iter().zip(loaded) {
            match why {
                Why::Lead { leader, lease, .. } => {
                    let late = if mutant::is(Mutant::BatchTakesLateLeases) { leader.lease() } else { None };
                    let lease = late.or_else(|| lease.clone());
                    leader.land(Arc::new(loaded.value.clone()), lease.as_ref().map(|lease| lease.id));
                    served.push((item.at, loaded.value.clone()));
                    fills.extend(lease.map(|lease| (&item.call, leader, lease, loaded)));
                }
                Why::Verify(hit) => {
                    served.push((item.at, item.call.compare(hit, loaded)));
                }
            }
        }
        let fills = fills.into_iter().map(|(call, leader, lease, loaded)| async move {
            call.fill(&lease, loaded.value.as_ref(), loaded.store, took).await;
            leader.let_go(lease.id);
        });
        abreast::all(fills.collect(), WRITES).await;
        served
    }

    /// The load failed: hands the leads on. What each entry is served all the same, unless one of them has nothing to serve.
    pub(super) async fn fail(&mut self) -> Option<Vec<(usize, Option<Arc<T>>)>> {
        let mut served = Vec::new();
        let (mut unused, mut failed) = (Vec::new(), Vec::new());
        for One { item, why } in self.0.drain(..) {
            match why {
                Why::Lead { leader, need, .. } => {
                    item.call.counters.load_errors.add(1);
                    unused.extend(leader.fail().map(|lease| held(&item.call, lease)));
                    failed.push((item, need));
                }
                Why::Verify(hit) => served.push((item.at, hit.value)),
            }
        }
        give_all_back(unused).await;
        if failed.iter().any(|(_, need)| need.current.is_none()) {
            return None;
        }
        // Never one that was invalidated: what expired is looked at again before it serves.
        let looks = failed.iter().map(|(item, need)| async move { (item.at, item.call.still_valid(need).await) });
        for (at, still) in abreast::all(looks.collect(), READS).await {
            served.push((at, still?));
        }
        Some(served)
    }
}

fn held(call: &Call<'_>, lease: Lease) -> Held {
    (Arc::clone(&call.store), call.key.clone(), lease)
}

async fn give_all_back(leases: Vec<Held>) {
    let releases = leases.into_iter().map(|(store, key, lease)| async move {
        // Without an answer it lapses.
        let _ = store.release(&key, &lease).await;
    });
    abreast::all(releases.collect(), ASIDE).await;
}

/// A batch that goes away gives back the leases that nobody else uses: in one task, not in one each.
impl<T> Drop for Led<'_, T> {
    fn drop(&mut self) {
        let mut unused = Vec::new();
        for One { item, why } in self.0.drain(..) {
            let Why::Lead { leader, .. } = why else { continue };
            let Some(lease) = leader.unused() else { continue };
            let (store, key, lease) = held(&item.call, lease);
            if store.holds_objects() {
                give_back(store, key, lease);
            } else {
                unused.push((store, key, lease));
            }
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !unused.is_empty()
        {
            runtime.spawn(give_all_back(unused));
        }
    }
}
