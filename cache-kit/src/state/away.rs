//! What an instance remembers of states, and what it has to write back.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::store::StoreError;
use quick_cache::sync::Cache;

use crate::backend::{At, Backend, Expected, Record, Seen, Spot, Version};

/// What an instance remembers, and what it has to write back.
pub(super) struct Away {
    known: Cache<At, Known>,
    waiting: Mutex<HashMap<At, Waiting>>,
    capacity: usize,
    /// The newest time of Redis that was seen, in microseconds there.
    newest: AtomicU64,
}

/// A state as it was seen.
#[derive(Clone)]
struct Known {
    version: Version,
    bytes: Vec<u8>,
    until: Instant,
    era: Vec<u8>,
    list: Option<(String, String)>,
}

/// A writing, or a removal, that Redis has not heard of.
#[derive(Clone)]
struct Waiting {
    spot: Spot,
    /// What has to be there still.
    base: Expected,
    /// The life of the data that the base was in; empty: not known.
    era: Vec<u8>,
    value: Option<(Version, Vec<u8>)>,
    until: Instant,
}

/// What is there as far as this instance goes.
pub(super) struct Here(Option<Record>);

impl Here {
    pub(super) fn of(record: Option<Record>) -> Self {
        Self(record)
    }

    pub(super) fn into_record(self) -> Option<Record> {
        self.0
    }

    pub(super) fn is(&self, expected: &Expected) -> bool {
        match (expected, &self.0) {
            (Expected::Anything, _) | (Expected::Nothing, None) => true,
            (Expected::Version(version), Some(record)) => record.version == *version,
            _ => false,
        }
    }
}

impl Away {
    pub(super) fn new(capacity: usize) -> Self {
        Self { known: Cache::new(capacity), waiting: Mutex::default(), capacity, newest: AtomicU64::new(0) }
    }

    fn all_waiting(&self) -> MutexGuard<'_, HashMap<At, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn waiting(&self) -> usize {
        self.all_waiting().len()
    }

    /// Remembers what was seen in Redis.
    pub(super) fn note(&self, spot: &Spot, seen: &Seen) {
        self.newest.fetch_max(seen.now, Ordering::Relaxed);
        let Some(record) = &seen.record else { return self.forget(&spot.at) };
        let known = Known {
            version: record.version,
            bytes: record.bytes.clone(),
            until: Instant::now() + record.left,
            era: seen.era.clone(),
            list: spot.list.clone(),
        };
        self.known.insert(spot.at.clone(), known);
    }

    pub(super) fn forget(&self, at: &At) {
        self.known.remove(at);
    }

    pub(super) fn forget_waiting(&self, at: &At) {
        self.all_waiting().remove(at);
    }

    pub(super) fn known(&self, at: &At) -> Option<Record> {
        self.known.get(at)?.record()
    }

    /// What is remembered, for `touch` from now on if that is given.
    pub(super) fn known_for(&self, at: &At, touch: Option<Duration>) -> Option<Record> {
        let mut known = self.known.get(at)?;
        let record = known.record()?;
        if let Some(touch) = touch {
            known.until = Instant::now() + touch;
            self.known.insert(at.clone(), known);
        }
        Some(record)
    }

    /// What was there before Redis lost its data.
    pub(super) fn lost(&self, at: &At, era: &[u8]) -> Option<Record> {
        let known = self.known.get(at)?;
        let is_lost = !era.is_empty() && !known.era.is_empty() && known.era != era;
        known.record().filter(|_| is_lost)
    }

    /// What is to be written there. It is kept for `touch` from now on if that is given.
    pub(super) fn waiting_at(&self, at: &At, touch: Option<Duration>) -> Option<Here> {
        let (mut all, now) = (self.all_waiting(), Instant::now());
        let waiting = all.get_mut(at)?;
        let (Some((version, bytes)), true) = (&waiting.value, waiting.until > now) else { return Some(Here(None)) };
        if let Some(touch) = touch {
            waiting.until = now + touch;
        }
        Some(Here(Some(Record {
            version: *version,
            bytes: bytes.clone(),
            left: waiting.until - now,
            is_of_this_life: true,
        })))
    }

    /// Names in a list of what is to be written.
    pub(super) fn waiting_in(&self, list: &At) -> Vec<String> {
        let all = self.all_waiting();
        let in_list = all.values().filter(|waiting| waiting.value.is_some()).filter_map(|waiting| {
            let (name, member) = waiting.spot.list.as_ref()?;
            (*name == list.name && waiting.spot.at.place == list.place).then(|| member.clone())
        });
        in_list.collect()
    }

    /// Names in a list of what is remembered.
    pub(super) fn known_in(&self, list: &At) -> Vec<String> {
        let known = self.known.iter().filter_map(|(at, known)| {
            let (name, member) = known.list?;
            (name == list.name && at.place == list.place).then_some(member)
        });
        known.collect()
    }

    /// Keeps a writing, or with `None` a removal, to be written back. `false`: there is no room.
    pub(super) fn keep(&self, spot: &Spot, value: Option<(Version, Vec<u8>)>, kept: Duration) -> bool {
        let mut all = self.all_waiting();
        let until = Instant::now() + kept;
        if let Some(waiting) = all.get_mut(&spot.at) {
            (waiting.value, waiting.until) = (value, until);
            return true;
        }
        if all.len() >= self.capacity {
            return false;
        }
        let (base, era) = match self.known.get(&spot.at) {
            Some(known) => (Expected::Version(known.version), known.era),
            // Nothing, or what was there before contact was lost.
            None => (Expected::Before(self.newest.load(Ordering::Relaxed)), Vec::new()),
        };
        all.insert(spot.at.clone(), Waiting { spot: spot.clone(), base, era, value, until });
        true
    }

    /// Writes back what waits. `false`: some of it still does.
    pub(super) async fn write_back(&self, main: &dyn Backend, states: &str) -> bool {
        let all: Vec<Waiting> = self.all_waiting().values().cloned().collect();
        for waiting in all {
            match waiting.write_back(main).await {
                Ok((seen, is_written)) => {
                    self.note(&waiting.spot, &seen);
                    if !is_written {
                        tracing::warn!(
                            states,
                            key = waiting.spot.at.name,
                            "somebody else wrote while Redis was out of reach: what this instance wrote is dropped"
                        );
                    }
                    self.written(&waiting, &seen);
                }
                Err(_) => return false,
            }
        }
        self.all_waiting().is_empty()
    }

    /// Nothing waits there any more, unless it was written once more meanwhile.
    fn written(&self, was: &Waiting, seen: &Seen) {
        let mut all = self.all_waiting();
        let Some(waiting) = all.get_mut(&was.spot.at) else { return };
        if waiting.value == was.value {
            all.remove(&was.spot.at);
            return;
        }
        waiting.base = seen.record.as_ref().map_or(Expected::Nothing, |record| Expected::Version(record.version));
        waiting.era.clone_from(&seen.era);
    }
}

impl Known {
    fn record(&self) -> Option<Record> {
        let left = self.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        Some(Record { version: self.version, bytes: self.bytes.clone(), left, is_of_this_life: false })
    }
}

impl Waiting {
    /// What is there now, and whether it is what was to be written.
    async fn write_back(&self, main: &dyn Backend) -> Result<(Seen, bool), StoreError> {
        let left = self.until.saturating_duration_since(Instant::now());
        let (Some((version, bytes)), false) = (&self.value, left.is_zero()) else {
            let removed = main.remove(&self.spot, &self.base, &crate::backend::version()).await?;
            let is_gone = removed.is_done || removed.seen.record.is_none();
            let seen = if removed.is_done { Seen { record: None, ..removed.seen } } else { removed.seen };
            return Ok((seen, is_gone));
        };
        let is_written = |seen: &Seen| seen.record.as_ref().is_some_and(|record| record.version == *version);
        let seen = main.write(&self.spot, &self.base, version, bytes, left).await?;
        let is_lost = seen.record.is_none() && !self.era.is_empty() && !seen.era.is_empty() && self.era != seen.era;
        if is_lost {
            let seen = main.write(&self.spot, &Expected::Nothing, version, bytes, left).await?;
            let is_written = is_written(&seen);
            return Ok((seen, is_written));
        }
        let is_written = is_written(&seen);
        Ok((seen, is_written))
    }
}
