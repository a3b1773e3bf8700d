//! Copies of the store's values in this process's memory, in front of the store.
//!
//! A copy is kept under a [`Ticket`] that was taken before its read was sent, or before its load began. Whatever invalidates
//! the key takes the ticket away, as it takes the lease of a load away, and the copy is not kept then. So a copy is never older
//! than what the store answered after the last invalidation that this process has heard of.
//!
//! What remains is whether it has heard of all. By its [mode](L1) a copy is served when the store has just confirmed it, or
//! while the store's feed guarantees that no invalidation returns before this process has dropped what it hits, or for a bounded time.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Inner, call::Call, object};
use crate::{
    clock::{Clock, Tick},
    codec::{Meta, Values},
    key::{Key, Target},
    memory::MemoryStore,
    mutant::{self, Mutant},
    policy::{L1, Policy},
    store::{Lease, LeaseId, Nearby, Payload, Read, Store, StoreError, Stored},
};

/// The copies of one cache.
pub(super) struct Near {
    memory: MemoryStore,
    /// Until when leased copies may be served, by `clock`; zero: not now.
    until: AtomicU64,
    is_fed: OnceLock<bool>,
    clock: Clock,
}

/// What a look at a copy leads to.
pub(super) enum Copy {
    /// To be served.
    Good(Stored),
    /// To be served if the store still has it.
    Unsure(Stored),
    /// None.
    Nothing,
}

/// The right to keep a copy of what is read or loaded from now on.
pub(super) struct Ticket<'a> {
    near: &'a Near,
    key: &'a Key,
    lease: Lease,
    taken: Tick,
    mode: L1,
}

impl Near {
    pub(super) fn new(limit: usize, clock: Clock) -> Self {
        let memory = MemoryStore::with_clock(limit, clock.clone());
        Self { memory, until: AtomicU64::new(0), is_fed: OnceLock::new(), clock }
    }

    pub(super) fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    /// The copies, if they are served without asking the store.
    #[inline]
    pub(super) fn at_hand(&self, mode: L1) -> Option<&MemoryStore> {
        match mode {
            L1::Leased if self.is_leased() => Some(&self.memory),
            L1::For(_) => Some(&self.memory),
            _ => None,
        }
    }

    /// Asked before the copy is looked for: if the lease was renewed in between, then after the copy had been dropped that it does
    /// not cover.
    #[inline]
    fn is_leased(&self) -> bool {
        self.clock.is_before(Tick::from_nanos(self.until.load(Ordering::SeqCst)))
            || mutant::is(Mutant::ServesBeyondLease)
    }

    fn look(&self, key: &Key, mode: L1) -> Copy {
        let is_at_hand = self.at_hand(mode).is_some();
        match self.memory.look(key) {
            Read::Hit(stored) if is_at_hand => Copy::Good(stored),
            // Its time is over.
            Read::Hit(_) if matches!(mode, L1::For(_)) => Copy::Nothing,
            Read::Hit(stored) => Copy::Unsure(stored),
            _ => Copy::Nothing,
        }
    }

    /// A ticket, unless another read of this process has it. `instead_of`: a copy that is no longer good.
    fn ticket<'a>(
        &'a self,
        key: &'a Key,
        instead_of: Option<LeaseId>,
        lasts: Duration,
        mode: L1,
    ) -> Option<Ticket<'a>> {
        let taken = self.clock.tick();
        let lease = self.memory.ticket(key, instead_of, lasts)?;
        Some(Ticket { near: self, key, lease, taken, mode })
    }

    /// These are invalid from now on.
    pub(super) fn forget(&self, targets: &[Target]) {
        self.memory.invalidate_now(targets);
    }

    /// Asks for the store's feed, once.
    fn ensure_fed(self: &Arc<Self>, store: &Arc<dyn Store>) {
        self.is_fed.get_or_init(|| store.feed(Arc::clone(self) as Arc<dyn Nearby>));
    }
}

impl Nearby for Near {
    fn invalidate(&self, targets: &[Target]) {
        self.forget(targets);
    }

    fn empty(&self) {
        self.until.store(0, Ordering::SeqCst);
        self.memory.forget_all();
    }

    fn may_serve_until(&self, until: Instant) {
        // First: whoever is stopped between the two may not serve for longer.
        let now = self.clock.tick();
        let left = until.saturating_duration_since(self.clock.now());
        let until = if left.is_zero() { 0 } else { now.after(left).as_nanos() };
        self.until.fetch_max(until, Ordering::SeqCst);
    }
}

impl Ticket<'_> {
    /// Keeps a copy of what was read from the store, or was stored there.
    fn keep(&self, stored: Stored, left: Duration) {
        let left = match self.mode {
            L1::For(bound) if !mutant::is(Mutant::KeepsBeyondBound) => {
                left.min(bound.saturating_sub(self.near.clock.tick().since(self.taken)))
            }
            _ => left,
        };
        if left.is_zero() {
            return;
        }
        if mutant::is(Mutant::CopiesWithoutTicket) {
            let late = self.near.memory.ticket(self.key, None, left).unwrap_or_else(|| self.lease.clone());
            return self.near.memory.keep(self.key, &late, stored, left);
        }
        self.near.memory.keep(self.key, &self.lease, stored, left);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.near.memory.give_back(self.key, &self.lease);
    }
}

impl Inner {
    /// How copies of what this policy is for are treated. `None`: there are none.
    pub(super) fn copies(&self, policy: &Policy) -> Option<(&Arc<Near>, L1)> {
        let mode = policy.l1.unwrap_or(self.l1);
        self.near.as_ref().filter(|_| mode != L1::Off).map(|near| (near, mode))
    }

    /// The end of what this process knows of an invalidation: its own copies.
    pub(super) fn forget_copies(&self, targets: &[Target]) {
        if let Some(near) = &self.near {
            near.forget(targets);
        }
    }
}

impl Call<'_> {
    /// The copy to serve, if there is one. Otherwise what is read or loaded next may be kept.
    pub(super) async fn look_nearby(&mut self) -> Result<Option<Stored>, StoreError> {
        // The one from the turn before goes first.
        self.ticket = None;
        if self.degraded {
            return Ok(None);
        }
        let Some((near, mode)) = self.inner.copies(self.policy) else { return Ok(None) };
        if mode == L1::Leased {
            near.ensure_fed(&self.store);
        }
        let mut instead_of = None;
        match near.look(self.key, mode) {
            Copy::Good(stored) => return Ok(Some(stored)),
            Copy::Unsure(stored) => match self.store.still_holds(self.key, &stored).await {
                Ok(true) => return Ok(Some(stored)),
                Ok(false) => instead_of = Some(stored.id),
                Err(error) => return Err(error),
            },
            Copy::Nothing => {}
        }
        self.ticket = near.ticket(self.key, instead_of, self.inner.load_timeout, mode);
        Ok(None)
    }

    /// Keeps a copy of what was read.
    pub(super) fn keep_copy<T>(&self, id: LeaseId, value: Option<&Arc<T>>, meta: Meta)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        let Some(ticket) = &self.ticket else { return };
        let left = match meta.fresh_until.or(meta.expires) {
            // Another clock may have set the end: its own TTL is the most that a value is served for after it was read.
            Some(end) => end.duration_since(self.inner.clock.system_time()).unwrap_or_default().min(self.policy.ttl),
            // The store knows.
            None if ticket.mode == L1::Validated => self.policy.ttl,
            None => return,
        };
        let weight = value.map_or(0, |value| Values::weigh::<T>(value));
        let meta = Meta { expires: None, version: self.policy.version, pinned: self.policy.pin, ..meta };
        let payload = Payload::Object { value: object::of(value), meta, weight };
        ticket.keep(Stored { id, payload }, left);
    }

    /// Keeps a copy of what was stored; what it has replaced is not served any more.
    pub(super) fn keep_filled<T>(&self, lease: &Lease, value: Option<&Arc<T>>, meta: Meta)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        if self.ticket.is_some() {
            return self.keep_copy(lease.id, value, meta);
        }
        if let Some(near) = &self.inner.near {
            near.memory.forget_value(self.key);
        }
    }
}
