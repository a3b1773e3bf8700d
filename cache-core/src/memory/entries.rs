//! The map from keys to entries: bounded by weight, sharded, with one lock for all who put something in a key's place.
//!
//! `quick_cache` answers single operations atomically. What it does not have is an atomic step from "this stands
//! here" to "that stands here now", so putting is left to who holds the key's [lock](Entries::lock). Removing needs no
//! lock: invalidation, expiry and eviction may remove an entry at any time. Hence the rule that the store's
//! steps rest on: *under the lock, what was seen at a key either still stands there or nothing does.*
//!
//! The entry itself is the map's key, and the map's value is empty. So a question to the map can look at the entry while
//! it is compared, under the shard's read lock: a hit copies the value out of it without taking part in the
//! entry's reference count, which would be one more cache line for all readers to fight over.

use std::{
    cell::RefCell,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use quick_cache::{DefaultHashBuilder, Equivalent, Lifecycle, OptionsBuilder, Weighter, sync};

use super::entry::Entry;

/// The share of the limit that one shard keeps for entries that were asked for again. It is also the largest share of a
/// shard that one entry may take.
const HOT: f64 = 0.97;

/// A guess, for the shards' bookkeeping of what was evicted lately.
const TYPICAL_WEIGHT: usize = 1024;

/// No shard is smaller than this, so that an entry of a megabyte has a place on machines with many cores.
const SMALLEST_SHARD: usize = 2 << 20;

type Map = sync::Cache<Place, (), ByWeight, DefaultHashBuilder, Notice>;

pub(super) struct Entries {
    map: Map,
    /// One for each shard of the map.
    locks: Box<[Mutex<()>]>,
    evictions: AtomicU64,
}

/// Walks over all entries that were there when it was made; those that come later may be visited or not.
pub(super) struct Walk<'a>(sync::Iter<'a, Place, (), ByWeight, DefaultHashBuilder, Notice>);

impl Iterator for Walk<'_> {
    type Item = Arc<Entry>;

    fn next(&mut self) -> Option<Arc<Entry>> {
        self.0.next().map(|(place, ())| place.0)
    }
}

impl Entries {
    pub(super) fn new(limit: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(4, usize::from);
        let options = OptionsBuilder::new()
            .shards((limit / SMALLEST_SHARD).clamp(1, cores * 4))
            .estimated_items_capacity(limit / TYPICAL_WEIGHT)
            .weight_capacity(limit as u64)
            .hot_allocation(HOT)
            .build()
            .expect("both capacities are set");
        let map = Map::with_options(options, ByWeight, DefaultHashBuilder::default(), Notice);
        let locks = (0..map.num_shards()).map(|_| Mutex::new(())).collect();
        Self { map, locks, evictions: AtomicU64::new(0) }
    }

    /// The lock of a key (and of others): taken to put something in the key's place.
    pub(super) fn lock(&self, path: &str) -> MutexGuard<'_, ()> {
        self.locks[self.map.shard_index(&At::any(path))].lock()
    }

    /// Shows the entry at a key to `look`, under the lock of a shard: `look` neither waits nor drops anything. The entry
    /// becomes less likely to be evicted.
    #[inline]
    pub(super) fn look(&self, path: &str, look: impl FnMut(&Arc<Entry>)) {
        let look = RefCell::new(look);
        self.map.get(&At {
            path,
            is: |entry: &Arc<Entry>| {
                (look.borrow_mut())(entry);
                true
            },
        });
    }

    /// What stands at a key now.
    pub(super) fn peek(&self, path: &str) -> Option<Arc<Entry>> {
        let seen = RefCell::new(None);
        self.map.peek(&At {
            path,
            is: |entry: &Arc<Entry>| {
                *seen.borrow_mut() = Some(entry.clone());
                true
            },
        });
        seen.into_inner()
    }

    /// Puts an entry at its key. The caller holds the key's lock and drops what was displaced after it. An entry that is
    /// larger than a shard is not kept, and neither is what it would have replaced.
    pub(super) fn put(&self, entry: Arc<Entry>, displaced: &mut Displaced) {
        let key = entry.key.clone();
        self.map.insert_with_lifecycle(Place(entry), (), displaced);
        self.count(&key, displaced);
    }

    /// Puts an entry at its key if something still stands there. The caller holds the key's lock. `false`: it was removed
    /// meanwhile, or the new entry is larger than a shard; either way nothing stands there now.
    pub(super) fn replace(&self, entry: Arc<Entry>, displaced: &mut Displaced) -> bool {
        let key = entry.key.clone();
        let refused = self.map.replace_with_lifecycle(Place(entry), (), false, displaced).err();
        self.count(&key, displaced);
        let replaced = refused.is_none();
        displaced.0.extend(refused.map(|(place, ())| place.0));
        replaced
    }

    pub(super) fn remove(&self, path: &str) {
        drop(self.map.remove(&At::any(path)));
    }

    /// Removes this very entry, if it still stands at its key.
    pub(super) fn remove_exactly(&self, entry: &Arc<Entry>) {
        self.remove_if(&entry.key, |standing| Arc::ptr_eq(standing, entry));
    }

    /// Removes what stands at a key, if it meets the condition.
    pub(super) fn remove_if(&self, path: &str, condition: impl Fn(&Arc<Entry>) -> bool) {
        drop(self.map.remove(&At { path, is: condition }));
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        Walk(self.map.iter())
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn weight(&self) -> u64 {
        self.map.weight()
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
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

/// An entry as the map's key: it is its path.
#[derive(Clone)]
struct Place(Arc<Entry>);

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (*self.0.key).hash(state);
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Place {}

/// A question to the map: the entry at this path, if it meets a condition.
struct At<'a, F> {
    path: &'a str,
    is: F,
}

impl<'a> At<'a, fn(&Arc<Entry>) -> bool> {
    fn any(path: &'a str) -> Self {
        Self { path, is: |_| true }
    }
}

impl<F> Hash for At<'_, F> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
    }
}

impl<F: Fn(&Arc<Entry>) -> bool> Equivalent<Place> for At<'_, F> {
    #[inline]
    fn equivalent(&self, place: &Place) -> bool {
        *self.path == *place.0.key && (self.is)(&place.0)
    }
}

/// Entries on their way out. A value's own `Drop` is the user's code: it must not run under a lock of ours.
#[derive(Default)]
pub(super) struct Displaced(Vec<Arc<Entry>>);

#[derive(Clone)]
struct ByWeight;

impl Weighter<Place, ()> for ByWeight {
    #[inline]
    fn weight(&self, place: &Place, (): &()) -> u64 {
        place.0.weight()
    }
}

#[derive(Clone)]
struct Notice;

impl Lifecycle<Place, ()> for Notice {
    type RequestState = Displaced;

    fn on_evict(&self, displaced: &mut Displaced, place: Place, (): ()) {
        displaced.0.push(place.0);
    }
}
