//! What an instance remembers of states, and what it has to write back.

#[cfg(test)]
mod tests;
mod waiting;

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

/// For so long beyond the time that the record still had Redis knows that it was removed; a little less.
const REMEMBERED: u64 = 290_000_000;

/// Of the time that a record still had no more than that counts.
const DAY: u64 = 24 * 3600 * 1_000_000;

/// No answer takes longer, in microseconds.
const IN_FLIGHT: u64 = 30_000_000;

/// So many versions of its own an instance knows by a key.
const OWN: usize = 64;

/// What an instance remembers, and what it has to write back.
pub(super) struct Away {
    known: Cache<At, Known>,
    waiting: Mutex<HashMap<At, Waiting>>,
    /// What was read in an outage, which keeps it.
    touched: Mutex<HashMap<At, Spot>>,
    /// The life of the server in which each list was last given what is remembered of it.
    lists: Cache<At, Vec<u8>>,
    capacity: usize,
    /// The newest time of Redis that was seen, in microseconds there.
    newest: AtomicU64,
    /// The newest time of Redis before which there was contact, by whomever.
    contact: AtomicU64,
    /// Held while one of them is written back, and by who decides on what waits.
    turn: tokio::sync::Mutex<()>,
}

/// A state as it was seen.
#[derive(Clone)]
struct Known {
    version: Version,
    bytes: Vec<u8>,
    until: Instant,
    written: u64,
    incarnation: Vec<u8>,
    list: Option<(String, String)>,
    /// When that was, in microseconds of Redis.
    seen: u64,
    /// Until when Redis would know that it was removed since, likewise.
    told: u64,
}

/// A writing, or a removal, that Redis has not heard of.
#[derive(Clone)]
struct Waiting {
    spot: Spot,
    /// What has to be there still.
    base: Expected,
    /// The life of the server that the base was seen in; empty: not known.
    incarnation: Vec<u8>,
    /// When the base was written, in microseconds of Redis; 0: not known.
    written: u64,
    /// Earlier versions of this instance's own, which may have come to be there without an answer.
    own: Vec<Version>,
    value: Option<(Version, Vec<u8>)>,
    until: Instant,
    /// Redis has heard of none of it for sure: nobody else knows it.
    is_unheard: bool,
}

/// What became of a writing that is to be kept.
pub(super) enum Kept {
    /// It is, in the place of this.
    InPlaceOf(Option<Record>),
    /// What this instance knows is not as expected.
    NotExpected,
    /// There is no room.
    Full,
}

/// What is there as far as this instance goes.
fn is_expected(expected: &Expected, record: Option<&Record>) -> bool {
    match (expected, record) {
        (Expected::Anything, _) | (Expected::Nothing | Expected::NothingSince(_), None) => true,
        (Expected::Version(version), Some(record)) => record.version == *version,
        _ => false,
    }
}

impl Away {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            known: Cache::new(capacity),
            waiting: Mutex::default(),
            touched: Mutex::default(),
            lists: Cache::new(capacity),
            capacity,
            newest: AtomicU64::new(0),
            contact: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
        }
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
        // Answers need not come to be noted in their order. Older ones than that are of a clock that was set back.
        let before = seen.now + 1..seen.now + IN_FLIGHT;
        let is_newer = |known: &Known| known.incarnation == seen.incarnation && before.contains(&known.seen);
        if self.known.get(&spot.at).is_some_and(|known| is_newer(&known)) {
            return;
        }
        match &seen.record {
            Some(record) => self.known.insert(spot.at.clone(), Known::of(spot, seen, record, record.left)),
            None => self.forget(&spot.at),
        }
    }

    /// Remembers that this instance has removed it.
    pub(super) fn removed(&self, spot: &Spot, seen: &Seen) {
        match &seen.record {
            Some(record) => self.known.insert(spot.at.clone(), Known::of(spot, seen, record, Duration::ZERO)),
            None => self.forget(&spot.at),
        }
    }

    /// There was contact until that time of Redis.
    pub(super) fn was_there(&self, time: u64) {
        self.contact.fetch_max(time, Ordering::Relaxed);
    }

    pub(super) fn forget(&self, at: &At) {
        self.known.remove(at);
    }

    /// Whether anything waited there.
    pub(super) fn forget_waiting(&self, at: &At) -> bool {
        self.all_waiting().remove(at).is_some()
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

    fn all_touched(&self) -> MutexGuard<'_, HashMap<At, Spot>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was read, and Redis has not heard of it.
    pub(super) fn touched(&self, spot: &Spot) {
        let mut all = self.all_touched();
        if all.len() < self.capacity {
            all.entry(spot.at.clone()).or_insert_with(|| spot.clone());
        }
    }

    /// What ended in Redis while it was read here. Where that takes longer than a removal is remembered it is not known from one.
    pub(super) fn outlived(&self, at: &At, seen: &Seen) -> Option<Record> {
        if seen.record.is_some() || !self.all_touched().contains_key(at) {
            return None;
        }
        let known = self.known.get(at).filter(|known| known.incarnation == seen.incarnation)?;
        known.record().filter(|_| !known.may_be_removed(seen))
    }

    /// Tells Redis of all that was read in an outage.
    async fn touch_back(&self, main: &dyn Backend) -> Result<(), StoreError> {
        let all: Vec<Spot> = self.all_touched().values().cloned().collect();
        for spot in all {
            if let Some(Record { left, .. }) = self.known_for(&spot.at, None) {
                let mut seen = main.read(&spot, Some(left)).await?;
                if let Some(Record { version, bytes, left, .. }) = self.outlived(&spot.at, &seen) {
                    seen = main.write(&spot, &Expected::Nothing, &version, &bytes, left).await?;
                }
                self.note(&spot, &seen);
            }
            self.all_touched().remove(&spot.at);
        }
        Ok(())
    }

    /// What was there before Redis lost its data, or went back to older ones.
    pub(super) fn lost(&self, at: &At, seen: &Seen) -> Option<Record> {
        let known = self.known.get(at)?;
        let is_lost = match &seen.record {
            None => known.incarnation != seen.incarnation && !known.may_be_removed(seen),
            Some(record) => {
                record.written < known.written && record.version != known.version && !record.is_of_this_life
            }
        };
        known.record().filter(|_| is_lost)
    }

    /// What is to be written there, with `Some(None)` for a removal. It is kept for `touch` from now on if that is given.
    #[allow(clippy::option_option, reason = "nothing waits, or a removal does")]
    pub(super) fn waiting_at(&self, at: &At, touch: Option<Duration>) -> Option<Option<Record>> {
        let mut all = self.all_waiting();
        let waiting = all.get_mut(at)?;
        let record = waiting.record();
        if let (Some(_), Some(touch)) = (&record, touch) {
            waiting.until = Instant::now() + touch;
        }
        Some(record)
    }

    /// Nothing is written back while this is held.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
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

    /// Whether the server may have lost a list since it was last asked for this.
    pub(super) fn may_be_lost(&self, list: &At, incarnation: &[u8]) -> bool {
        let is_lost = self.lists.get(list).is_none_or(|life| life != incarnation);
        if is_lost {
            self.lists.insert(list.clone(), incarnation.to_vec());
        }
        is_lost
    }

    /// Names in a list of what is remembered.
    pub(super) fn known_in(&self, list: &At) -> Vec<String> {
        let known = self.known.iter().filter_map(|(at, known)| {
            known.record()?;
            let (name, member) = known.list?;
            (name == list.name && at.place == list.place).then_some(member)
        });
        known.collect()
    }

    /// Keeps a writing, or with `None` a removal, to be written back, if what this instance knows is as expected. `is_sent`: Redis may have heard of it.
    pub(super) fn keep(
        &self,
        spot: &Spot,
        expected: &Expected,
        value: Option<(Version, Vec<u8>)>,
        kept: Duration,
        is_sent: bool,
    ) -> Kept {
        let mut all = self.all_waiting();
        let until = Instant::now() + kept;
        if let Some(waiting) = all.get_mut(&spot.at) {
            let before = waiting.record();
            if !is_expected(expected, before.as_ref()) {
                return Kept::NotExpected;
            }
            if let Some((version, _)) = waiting.value.take().filter(|_| !waiting.is_unheard) {
                waiting.own.truncate(OWN - 1);
                waiting.own.insert(0, version);
            }
            if value.is_some() && *expected == Expected::Anything && !matches!(waiting.base, Expected::Before(_)) {
                // Whatever was there before contact was lost, also if what waited was for one writing only.
                let contact = self.contact.load(Ordering::Relaxed).max(waiting.written + 1);
                waiting.base = Expected::Before(contact);
            }
            (waiting.value, waiting.until) = (value, until);
            waiting.is_unheard &= !is_sent;
            return Kept::InPlaceOf(before);
        }
        let known = self.known.get(&spot.at).and_then(|known| Some((known.record()?, known.incarnation)));
        if !is_expected(expected, known.as_ref().map(|(record, _)| record)) {
            return Kept::NotExpected;
        }
        if all.len() >= self.capacity {
            return Kept::Full;
        }
        let (base, incarnation, written) = match &known {
            // Whatever was there before contact was lost, seen here or not.
            Some((record, incarnation)) if value.is_some() && *expected == Expected::Anything => {
                let contact = self.contact.load(Ordering::Relaxed).max(record.written + 1);
                (Expected::Before(contact), incarnation.clone(), record.written)
            }
            None if value.is_some() && *expected == Expected::Anything => {
                let newest = self.newest.load(Ordering::Relaxed);
                (Expected::Before(self.contact.load(Ordering::Relaxed).max(newest)), Vec::new(), 0)
            }
            Some((record, incarnation)) => (Expected::Version(record.version), incarnation.clone(), record.written),
            // Nothing, and nobody has written or removed it since that was seen.
            None => {
                let since = if let Expected::NothingSince(time) = expected { *time } else { 0 };
                (Expected::Before(since), Vec::new(), 0)
            }
        };
        let (own, is_unheard) = (Vec::new(), !is_sent);
        let waiting = Waiting { spot: spot.clone(), base, incarnation, written, own, value, until, is_unheard };
        all.insert(spot.at.clone(), waiting);
        Kept::InPlaceOf(known.map(|(record, _)| record))
    }

    /// Writes back what waits. `false`: some of it still does.
    pub(super) async fn write_back(&self, main: &dyn Backend, states: &str) -> bool {
        let all: Vec<At> = self.all_waiting().keys().cloned().collect();
        for at in all {
            let _turn = self.turn().await;
            if !self.write_one_back(&at, main, states).await {
                return false;
            }
        }
        self.touch_back(main).await.is_ok() && self.all_waiting().is_empty()
    }

    /// Writes back what waits there, for who has the turn. `false`: Redis could not be told.
    pub(super) async fn write_one_back(&self, at: &At, main: &dyn Backend, states: &str) -> bool {
        let Some(waiting) = self.all_waiting().get(at).cloned() else { return true };
        match waiting.write_back(main).await {
            Ok((seen, is_written)) => {
                self.note(&waiting.spot, &seen);
                if !is_written {
                    tracing::warn!(
                        states,
                        key = at.name,
                        "somebody else wrote while Redis was out of reach: what this instance wrote is dropped"
                    );
                }
                self.written(&waiting, &seen);
                true
            }
            Err(error) => {
                if !matches!(error, StoreError::Unavailable)
                    && let Some(waiting) = self.all_waiting().get_mut(at)
                {
                    waiting.is_unheard = false;
                }
                false
            }
        }
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
        waiting.incarnation.clone_from(&seen.incarnation);
        waiting.written = seen.record.as_ref().map_or(0, |record| record.written);
    }
}

impl Known {
    fn of(spot: &Spot, seen: &Seen, record: &Record, left: Duration) -> Self {
        let still = u64::try_from(record.left.as_micros()).unwrap_or(DAY).min(DAY);
        Self {
            version: record.version,
            bytes: record.bytes.clone(),
            until: Instant::now() + left,
            written: record.written,
            incarnation: seen.incarnation.clone(),
            list: spot.list.clone(),
            seen: seen.now,
            told: seen.now + still + REMEMBERED,
        }
    }

    /// It is not there, and somebody may have removed it since it was seen.
    fn may_be_removed(&self, seen: &Seen) -> bool {
        seen.was_removed || seen.now > self.told
    }

    fn record(&self) -> Option<Record> {
        let left = self.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let Self { version, bytes, written, .. } = self;
        Some(Record { version: *version, bytes: bytes.clone(), left, written: *written, is_of_this_life: false })
    }
}
