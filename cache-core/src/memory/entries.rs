//! The map from keys to entries: bounded by weight, sharded, with one lock for all who put something in a key's place.
//!
//! `quick_cache` decides what is evicted. What it does not have is a step from "this stands here" to "that stands here
//! now", so putting is left to who holds the key's [lock](Entries::lock). Removing needs none but the shard's own: invalidation,
//! expiry and eviction may remove an entry at any time. Hence the rule that the store's steps rest on: *under the lock,
//! what was seen at a key either still stands there or nothing does.*
//!
//! Each shard is guarded by a lock of which every reader takes its own part: readers write to no memory that others read,
//! so that one does not slow down another, however many look at one key. Who changes something takes all parts.

use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};
use parking_lot::{Mutex, MutexGuard};
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter, unsync};

use super::{entry::Entry, pin::Pins};
use crate::{
    clock::Clock,
    key::{Key, Known, hash_of},
};

/// The share of the limit that one shard keeps for entries that were asked for again. It is also the largest share of a
/// shard that one entry may take.
const HOT: f64 = 0.97;

/// One part in so many of a shard can be pinned.
const PINNED: usize = 2;

/// A guess, for the shards' bookkeeping of what was evicted lately.
const TYPICAL_WEIGHT: usize = 1024;

/// No shard is smaller than this, so that an entry of a megabyte has a place on machines with many cores.
const SMALLEST_SHARD: usize = 2 << 20;

type Map = unsync::Cache<Place, Arc<Entry>, ByWeight, Known, Keeping>;

pub(super) struct Entries {
    shards: Box<[Shard]>,
    evictions: AtomicU64,
}

struct Shard {
    map: ShardedLock<Map>,
    pins: Arc<Pins>,
    /// Taken to put something in a key's place.
    put: Mutex<()>,
}

/// A key as a question to the map.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    hash: u64,
    path: &'a [u8],
}

impl<'a> From<&'a Key> for At<'a> {
    #[inline]
    fn from(key: &'a Key) -> Self {
        Self { hash: key.path().hash(), path: key.path().as_bytes() }
    }
}

impl<'a> From<&'a str> for At<'a> {
    fn from(path: &'a str) -> Self {
        Self { hash: hash_of(path), path: path.as_bytes() }
    }
}

/// Walks over all entries that were there when it was made; those that come later may be visited or not.
pub(super) struct Walk<'a> {
    shards: std::slice::Iter<'a, Shard>,
    /// What was in the shard that is being walked over. A key stays in its shard while its entry is replaced.
    seen: std::vec::IntoIter<Arc<Entry>>,
}

impl Iterator for Walk<'_> {
    type Item = Arc<Entry>;

    fn next(&mut self) -> Option<Arc<Entry>> {
        loop {
            if let Some(entry) = self.seen.next() {
                return Some(entry);
            }
            let all: Vec<_> = self.shards.next()?.read().iter().map(|(_, entry)| Arc::clone(entry)).collect();
            self.seen = all.into_iter();
        }
    }
}

impl Entries {
    /// `epoch` counts how often all entries were invalidated.
    pub(super) fn new(limit: usize, epoch: &Arc<AtomicU64>, clock: &Clock) -> Self {
        let cores = std::thread::available_parallelism().map_or(4, usize::from);
        let count = (limit / SMALLEST_SHARD).clamp(1, cores * 4).next_power_of_two();
        let options = OptionsBuilder::new()
            .estimated_items_capacity((limit / TYPICAL_WEIGHT / count).max(1))
            .weight_capacity((limit / count) as u64)
            .hot_allocation(HOT)
            .build()
            .expect("both capacities are set");
        let keeping = || Keeping { epoch: Arc::clone(epoch), clock: clock.clone() };
        let shards = (0..count).map(|_| Shard {
            map: ShardedLock::new(Map::with_options(options.clone(), ByWeight, Known::default(), keeping())),
            pins: Pins::new((limit / count / PINNED) as u64),
            put: Mutex::new(()),
        });
        Self { shards: shards.collect(), evictions: AtomicU64::new(0) }
    }

    /// The lock of a key (and of others): taken to put something in the key's place.
    pub(super) fn lock(&self, key: &Key) -> MutexGuard<'_, ()> {
        self.shard(key.path().hash()).put.lock()
    }

    /// The room for what is pinned beside a key.
    pub(super) fn pins(&self, key: &Key) -> &Arc<Pins> {
        &self.shard(key.path().hash()).pins
    }

    /// Shows the entry at a key to `look`, under the lock of a shard: `look` neither waits nor drops anything. The entry
    /// becomes less likely to be evicted.
    #[inline]
    pub(super) fn look<R>(&self, key: &Key, look: impl FnOnce(&Arc<Entry>) -> R) -> Option<R> {
        let at = At::from(key);
        self.shard(at.hash).read().get(&at).map(look)
    }

    /// What stands at a key now.
    pub(super) fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        let at = At::from(key);
        self.shard(at.hash).read().peek(&at).map(Arc::clone)
    }

    /// Puts an entry at its key. The caller holds the key's lock and drops what was displaced after it. An entry that is
    /// larger than a shard is not kept, and neither is what it would have replaced.
    pub(super) fn put(&self, entry: Arc<Entry>, displaced: &mut Displaced) {
        let place = Place::of(&entry);
        let path = Arc::clone(&place.path);
        self.shard(place.hash).write().insert_with_lifecycle(place, entry, displaced);
        self.count(&path, displaced);
    }

    /// Puts an entry at its key if something still stands there. The caller holds the key's lock. `false`: it was removed
    /// meanwhile, or the new entry is larger than a shard; either way nothing stands there now.
    pub(super) fn replace(&self, entry: Arc<Entry>, displaced: &mut Displaced) -> bool {
        let place = Place::of(&entry);
        let path = Arc::clone(&place.path);
        let refused = self.shard(place.hash).write().replace_with_lifecycle(place, entry, false, displaced).err();
        self.count(&path, displaced);
        let replaced = refused.is_none();
        displaced.0.extend(refused.map(|(_, entry)| entry));
        replaced
    }

    pub(super) fn remove<'a>(&self, at: impl Into<At<'a>>) {
        let at = at.into();
        let removed = self.shard(at.hash).write().remove(&at);
        // Not under the lock.
        drop(removed);
    }

    /// Removes this very entry, if it still stands at its key.
    pub(super) fn remove_exactly(&self, entry: &Arc<Entry>) {
        self.remove_if(At { hash: entry.hash, path: entry.key.as_bytes() }, |standing| Arc::ptr_eq(standing, entry));
    }

    /// Removes what stands at a key, if it meets the condition.
    pub(super) fn remove_if<'a>(&self, at: impl Into<At<'a>>, condition: impl FnOnce(&Arc<Entry>) -> bool) {
        let at = at.into();
        let removed = self.shard(at.hash).write().remove_if(&at, condition);
        drop(removed);
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { shards: self.shards.iter(), seen: Vec::new().into_iter() }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    pub(super) fn weight(&self) -> u64 {
        self.shards.iter().map(|shard| shard.read().weight()).sum()
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Shard {
        // The low bits choose the bucket inside the shard, the highest ones are compared in it.
        &self.shards[(hash >> 32) as usize & (self.shards.len() - 1)]
    }

    /// The map reports what was replaced along with what was evicted; only other keys than the one that was put
    /// were evicted.
    fn count(&self, put: &str, displaced: &Displaced) {
        let evicted = displaced.0.iter().filter(|entry| *entry.key != *put).count();
        if evicted > 0 {
            self.evictions.fetch_add(evicted as u64, Ordering::Relaxed);
        }
    }
}

impl Shard {
    /// A panic under the lock would be one of the map itself, which then is as good as it was.
    #[inline]
    fn read(&self) -> ShardedLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> ShardedLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key as the map holds it: compared without touching the entry.
struct Place {
    hash: u64,
    path: Arc<str>,
}

impl Place {
    fn of(entry: &Entry) -> Self {
        Self { hash: entry.hash, path: Arc::clone(&entry.key) }
    }
}

impl Hash for Place {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Place {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.path == other.path
    }
}

impl Eq for Place {}

impl Hash for At<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Place> for At<'_> {
    #[inline]
    fn equivalent(&self, place: &Place) -> bool {
        self.hash == place.hash && *self.path == *place.path.as_bytes()
    }
}

/// Entries on their way out. A value's own `Drop` is the user's code: it must not run under a lock of ours.
#[derive(Default)]
pub(super) struct Displaced(Vec<Arc<Entry>>);

#[derive(Clone)]
struct ByWeight;

impl Weighter<Place, Arc<Entry>> for ByWeight {
    #[inline]
    fn weight(&self, _place: &Place, entry: &Arc<Entry>) -> u64 {
        entry.weight()
    }
}

/// What is kept, and what becomes of what is not.
#[derive(Clone)]
struct Keeping {
    epoch: Arc<AtomicU64>,
    clock: Clock,
}

impl Lifecycle<Place, Arc<Entry>> for Keeping {
    type RequestState = Displaced;

    fn is_pinned(&self, _place: &Place, entry: &Arc<Entry>) -> bool {
        entry.is_pinned(self.epoch.load(Ordering::SeqCst), &self.clock)
    }

    fn on_evict(&self, displaced: &mut Displaced, _place: Place, entry: Arc<Entry>) {
        displaced.0.push(entry);
    }
}
