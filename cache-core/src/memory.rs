//! The store inside the process: leases, tokens and values in memory, bounded in bytes.
//!
//! [`MemoryStore`] follows the rules of [`Store`](crate::Store) on its own, with the same leases and tokens as a store over the
//! network. It holds values as bytes or as objects, evicts the least useful ones at its limit, and answers reads without
//! waiting: one map look-up, and a load for each token. Nothing runs in the background; what has expired or was
//! invalidated goes when it is touched or evicted.
//!
//! The limit covers keys, values and bookkeeping. Of values it is what serde shows of them, with the sizes of their types: spare capacity
//! and fields that serde skips are not seen. Bookkeeping is an upper estimate. What an entry shares with others, its tokens, is
//! counted in each of them. A value that is larger than about a shard (the limit divided by up to four times the number of
//! cores, but not below 2 MiB) is not kept: its fill is [`Refused`](Filled::Refused). With a limit of zero
//! every read is a miss and every fill is refused.
//!
//! # Why nothing stale is served after an invalidation has returned
//!
//! Take a value `v` that was loaded under the lease `l`, and an invalidation `i` that covers its key. The load began
//! after `acquire` had returned `l`. Let `i` begin after the write that makes `v` stale. If `acquire` returns
//! after `i` began, then the load reads what was written, and `v` is not stale. So let `acquire` have returned, with the
//! lease in the map and all its tokens obtained, before `i` began. There are three ways in which `i` works.
//!
//! 1. *A node or a tag.* The table lists at most one token for a name, and every token that is alive. So `i` finds the
//!    token that `l` holds, unless an earlier invalidation has killed it already. A token never lives again, and `v`
//!    carries the tokens of `l`, not newer ones. A read that begins after `i` returned sees the dead token and is a
//!    miss, whether the fill came before or after. A token leaves the table without being killed only when nothing holds
//!    it: not the lease, not the value, not a reader.
//! 2. *The whole namespace.* The same, with the epoch in the place of a token.
//! 3. *An entry, a glob, or the entry at a node's own path.* `i` removes what stands at the key: `l`, or `v` if the
//!    fill came first. A fill puts `v` only in the place of `l`: it holds the key's lock, under which nobody else puts
//!    anything at the key, sees `l` there, and then replaces what stands there, if anything does, in one atomic step of
//!    the map. So either the replacement comes before the removal, which then removes `v`, or it finds nothing and the
//!    fill is refused. `l` itself never comes back: renewing and refreshing replace in the same manner, and leases have unique names.
//!    A glob walks over the map: it notes what stands in one shard, under the shard's lock, then visits that, then goes to the next. A
//!    key stays in its shard whatever replaces what stands there. So when the turn of `l`'s shard comes, either something stands at
//!    the key and the walk visits it, or nothing does and the fill is refused. The walk removes by key, so it does not matter what it saw.
//!
//! A quarantine works like an invalidation at its beginning and at its end, and by the invariant of `hold.rs` in between.
//!
//! Eviction and expiry only remove, at any time. That costs a miss or refuses a fill.
//!
//! A read that began before `i` returned may still answer `v`.

mod entries;
mod entry;
mod hold;
mod inspect;
mod mint;
mod pin;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod token;

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use self::mint::unique_name;
use self::{
    entries::{Displaced, Entries},
    entry::{Entry, Grant, Stamp, State},
    hold::Holds,
    sweep::{Doomed, Sweep},
    token::Table,
};
use crate::{
    clock::{Clock, Tick},
    codec::Meta,
    glob::Glob,
    key::{Key, Target},
    mutant::{self, Mutant},
    policy::MAX_TTL,
    store::{Acquired, Filled, HolderId, Lease, LeaseId, Payload, Purpose, Read, Stored},
};

/// The store inside the process.
///
/// ```
/// use cache_core::MemoryStore;
///
/// let store = MemoryStore::new(64 << 20);
/// assert_eq!((store.entries(), store.bytes()), (0, 0));
/// ```
pub struct MemoryStore {
    entries: Entries,
    nodes: Arc<Table>,
    tags: Arc<Table>,
    holds: Holds,
    /// Counts how often the whole namespace was invalidated.
    epoch: Arc<AtomicU64>,
    clock: Clock,
}

/// What stands at a key, as a look at it shows.
enum Seen {
    Value(Stored),
    Lease(LeaseId),
    /// Expired or invalidated: nobody needs it any more.
    Over(Arc<Entry>),
    Nothing,
}

impl MemoryStore {
    /// A store of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self::with_clock(limit, Clock::System)
    }

    /// A store of at most `limit` bytes that takes the time from `clock`.
    pub fn with_clock(limit: usize, clock: Clock) -> Self {
        let (nodes, tags, holds) = (Table::new(), Table::new(), Holds::default());
        let epoch = Arc::new(AtomicU64::new(0));
        Self { entries: Entries::new(limit, &epoch, &clock), nodes, tags, holds, epoch, clock }
    }

    /// How many keys have a value or a lease, those included that are over and have not been touched since.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// What the entries cost, in bytes, with keys and bookkeeping.
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// How many entries had to make room for others since the store was made. What was replaced, has expired or was
    /// invalidated does not count.
    pub fn evictions(&self) -> u64 {
        self.entries.evictions()
    }

    /// How many nodes and tags are remembered: those that an entry refers to.
    pub fn tokens(&self) -> usize {
        self.nodes.len() + self.tags.len()
    }

    /// [`Store::invalidate`](crate::Store::invalidate) without waiting. A glob walks over all entries in one go.
    pub fn invalidate_now(&self, targets: &[Target]) {
        for mut sweep in self.invalidate_but_sweep(targets) {
            while sweep.step() {}
        }
    }

    /// The object at a key and what is stored beside it, if it is valid: all that a hit needs.
    #[inline]
    pub(crate) fn object(&self, key: &Key) -> Option<(Arc<dyn Any + Send + Sync>, Meta)> {
        self.entries
            .look(key, |entry| match &entry.state {
                State::Valid { stored: Stored { payload: Payload::Object { value, meta, .. }, .. }, .. }
                    if entry.is_good(self.epoch(), &self.clock) && entry.has_tags_of(key) =>
                {
                    Some((Arc::clone(value), *meta))
                }
                _ => None,
            })
            .flatten()
    }

    /// What [`Store::read`](crate::Store::read) answers.
    pub(crate) fn look(&self, key: &Key) -> Read {
        self.get(key)
    }

    /// A lease for a copy of another store's value. `None`: there is one, or a value other than `instead_of`.
    pub(crate) fn ticket(&self, key: &Key, instead_of: Option<LeaseId>, lasts: Duration) -> Option<Lease> {
        match self.grant(key, Purpose::Load { unreadable: instead_of }, lasts) {
            Acquired::Lease(lease) => Some(lease),
            _ => None,
        }
    }

    /// Stores a copy under the name that it has in the other store, if the lease is still there.
    pub(crate) fn keep(&self, key: &Key, lease: &Lease, stored: Stored, ttl: Duration) {
        self.put(key, lease, stored, ttl);
    }

    /// Gives a lease back without a value.
    pub(crate) fn give_back(&self, key: &Key, lease: &Lease) {
        self.release_now(key, lease);
    }

    /// Removes what stands at a key.
    pub(crate) fn forget_value(&self, key: &Key) {
        self.entries.remove(key.as_str());
    }

    /// Invalidates everything at once. What is there takes room until it is touched or evicted.
    pub(crate) fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// What a look at a key shows.
    #[inline]
    fn get(&self, key: &Key) -> Read {
        let seen = self.entries.look(key, |entry| {
            if !entry.is_good(self.epoch(), &self.clock) {
                return Seen::Over(Arc::clone(entry));
            }
            match &entry.state {
                _ if !entry.has_tags_of(key) => Seen::Nothing,
                State::Loading(grant) => Seen::Lease(grant.id),
                State::Valid { stored, .. } => Seen::Value(stored.clone()),
            }
        });
        let loading = match seen {
            Some(Seen::Value(stored)) => return Read::Hit(stored),
            Some(Seen::Lease(id)) => Some(id),
            Some(Seen::Over(entry)) => {
                self.entries.remove_exactly(&entry);
                None
            }
            Some(Seen::Nothing) | None => None,
        };
        if self.holds.cover(key, &self.clock) { Read::Held } else { Read::Miss { loading } }
    }

    /// Grants, unless somebody holds the key.
    fn grant_unless_held(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Acquired {
        if self.holds.cover(key, &self.clock) {
            return Acquired::Held;
        }
        let acquired = self.grant(key, purpose, lasts);
        match &acquired {
            // A quarantine that came between has either removed the lease, or shows here.
            Acquired::Lease(lease) if self.holds.cover(key, &self.clock) => {
                self.release_now(key, lease);
                Acquired::Held
            }
            _ => acquired,
        }
    }

    fn grant(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Acquired {
        // Declared before the lock, to be dropped after it.
        let standing;
        let mut displaced = Displaced::default();
        let _lock = self.entries.lock(key);
        standing = self.entries.peek(key);
        let good = standing.as_ref().filter(|entry| entry.is_good(self.epoch(), &self.clock) && entry.has_tags_of(key));
        match (purpose, good.map(|entry| (entry, &entry.state))) {
            (Purpose::Load { unreadable }, Some((_, State::Valid { stored, .. }))) if unreadable != Some(stored.id) => {
                Acquired::Value(stored.clone())
            }
            (Purpose::Load { .. }, Some((_, State::Loading(grant)))) => {
                Acquired::Wait { lease: grant.id, left: self.left(*grant) }
            }
            (Purpose::Load { .. }, _) => {
                let grant = Grant { id: mint::lease_id(), lapses: self.after(lasts) };
                let path = standing.as_ref().map_or_else(|| key.as_str().into(), |entry| entry.key.clone());
                let entry = Entry::new(path, key.path().hash(), self.stamp(key), State::Loading(grant));
                self.entries.put(entry, &mut displaced);
                Acquired::Lease(lease(grant.id, None))
            }
            (Purpose::Refresh(id), Some((entry, State::Valid { stored, refresh, .. }))) if stored.id == id => {
                if let Some(running) = refresh.filter(|grant| grant.running(&self.clock).is_some()) {
                    return Acquired::Wait { lease: running.id, left: self.left(running) };
                }
                let grant = Grant { id: mint::lease_id(), lapses: self.after(lasts) };
                if self.entries.replace(entry.with_refresh(Some(grant)), &mut displaced) {
                    Acquired::Lease(lease(grant.id, Some(id)))
                } else {
                    Acquired::Gone
                }
            }
            (Purpose::Refresh(_), _) => Acquired::Gone,
        }
    }

    /// Puts in the place of the entry in which this lease stands what `next` makes of it. `false`: the lease is gone.
    fn step(&self, key: &Key, lease: &Lease, next: impl FnOnce(&Entry) -> Arc<Entry>) -> bool {
        // Declared before the lock, to be dropped after it.
        let standing;
        let mut displaced = Displaced::default();
        let _lock = self.entries.lock(key);
        standing = self.entries.peek(key);
        let Some(entry) = &standing else { return false };
        let granted = entry.grant(lease.replaces).and_then(|grant| grant.running(&self.clock));
        if (granted != Some(lease.id) && !mutant::is(Mutant::MemoryFillsWithoutLease))
            || !entry.is_good(self.epoch(), &self.clock)
        {
            return false;
        }
        self.entries.replace(next(entry), &mut displaced)
    }

    fn renew_now(&self, key: &Key, lease: &Lease, lasts: Duration) -> bool {
        self.step(key, lease, |entry| {
            let grant = Grant { id: lease.id, lapses: self.after(lasts) };
            match entry.state {
                State::Loading(_) => entry.with(State::Loading(grant)),
                State::Valid { .. } => entry.with_refresh(Some(grant)),
            }
        })
    }

    fn fill_now(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Filled {
        if self.put(key, lease, Stored { id: lease.id, payload }, ttl) { Filled::Stored } else { Filled::Refused }
    }

    fn put(&self, key: &Key, lease: &Lease, stored: Stored, ttl: Duration) -> bool {
        self.step(key, lease, |entry| entry.with_value(stored, self.after(ttl), self.entries.pins(key)))
    }

    fn release_now(&self, key: &Key, lease: &Lease) {
        if lease.replaces.is_some() {
            self.step(key, lease, |entry| entry.with_refresh(None));
        } else {
            self.entries.remove_if(key, |entry| entry.grant(None).is_some_and(|grant| grant.id == lease.id));
        }
    }

    /// Invalidates what is invalidated in one step, and hands out the walks that are left to do. The former comes first: it
    /// does not have to wait for the latter, nor is it lost when the caller is dropped in between.
    fn invalidate_but_sweep(&self, targets: &[Target]) -> Vec<Sweep<'_>> {
        let mut sweeps = Vec::new();
        for target in targets {
            match target {
                Target::Entry(path) => self.entries.remove(path.as_str()),
                Target::Node(path) => {
                    self.nodes.kill(path);
                    self.entries.remove(path.as_str());
                }
                Target::Tag(tag) => self.tags.kill(tag.as_str()),
                Target::Glob(pattern) => {
                    let glob = Glob::new(pattern);
                    match glob.literal().map(String::from_utf8) {
                        Some(Ok(path)) => self.entries.remove(path.as_str()),
                        Some(Err(_)) => {} // No key is like that.
                        None => sweeps.push(self.sweep(Doomed::Matching(glob))),
                    }
                }
                Target::All => {
                    let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
                    // All are misses already: this only gives the memory back.
                    sweeps.push(self.sweep(Doomed::Before(epoch)));
                }
            }
        }
        sweeps
    }

    fn hold_now(&self, targets: &[Target], holder: HolderId, lasts: Duration) {
        self.holds.add(targets, holder, self.clock.tick(), self.after(lasts));
        self.invalidate_now(targets);
    }

    fn sweep(&self, doomed: Doomed) -> Sweep<'_> {
        Sweep::new(&self.entries, doomed)
    }

    /// The tokens as they are now, missing ones created.
    fn stamp(&self, key: &Key) -> Stamp {
        let nodes = key.nodes();
        let count = nodes.len();
        let tags = key.tags().iter().map(|tag| self.tags.obtain(tag.as_str()));
        Stamp::new(self.epoch(), count, nodes.map(|node| self.nodes.obtain(node)).chain(tags).collect())
    }

    fn after(&self, span: Duration) -> Tick {
        self.clock.tick().after(span.min(MAX_TTL))
    }

    /// How long a lease still lasts.
    fn left(&self, grant: Grant) -> Duration {
        grant.lapses.since(self.clock.tick())
    }

    #[inline]
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("entries", &self.entries())
            .field("bytes", &self.bytes())
            .field("tokens", &self.tokens())
            .finish_non_exhaustive()
    }
}

fn lease(id: LeaseId, replaces: Option<LeaseId>) -> Lease {
    // The tokens themselves stay with the entry: the lease's name leads to them.
    Lease { id, stamp: [0; 32], replaces }
}
