//! The steps in this process's memory: for services without Redis, and for outages.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{Clock, store::StoreError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

use crate::{
    backend::{
        Asked, At, Backend, Change, Expected, Found, Heard, Named, Rate, Record, Removed, Seen, Spot, Subscribed,
        Verdict, Version, version,
    },
    geo,
};

/// Messages wait for a slow subscriber up to this many.
const BACKLOG: usize = 1_024;

/// After so many writings what has lapsed is cleared away.
const SWEEP: u64 = 1_024;

/// This process's memory.
pub(crate) struct Memory {
    state: Mutex<State>,
    clock: Clock,
    own: Version,
    /// Where its time begins, also in microseconds since 1970, so that fences are above those of Redis.
    start: std::time::Instant,
    base: u64,
}

#[derive(Default)]
struct State {
    records: HashMap<At, Kept>,
    lists: HashMap<At, BTreeMap<u64, String>>,
    rates: HashMap<At, Counted>,
    locks: HashMap<At, Held>,
    topics: HashMap<At, (broadcast::Sender<Heard>, u64)>,
    points: HashMap<At, HashMap<String, (f64, f64)>>,
    /// Microseconds; never twice the same.
    last: u64,
    writes: u64,
    fence: u64,
}

struct Kept {
    version: Version,
    bytes: Vec<u8>,
    written: u64,
    until: u64,
    /// Who has removed it.
    removed: Option<Version>,
}

#[derive(Default)]
struct Counted {
    arrival: u64,
    allowed: VecDeque<u64>,
    until: u64,
}

#[derive(Default)]
struct Held {
    by: Option<(Version, u64, u64)>,
    queue: VecDeque<(Version, u64)>,
}

impl Memory {
    pub(crate) fn new(clock: Clock) -> Self {
        let (start, today) = (clock.now(), clock.system_time());
        let base = micros(today.duration_since(std::time::UNIX_EPOCH).unwrap_or_default());
        Self { state: Mutex::default(), clock, own: version(), start, base }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The highest fence that was given or seen here.
    pub(crate) fn fence(&self) -> u64 {
        self.state().fence
    }

    /// In microseconds.
    fn now(&self) -> u64 {
        self.base + micros(self.clock.now() - self.start)
    }

    /// Takes a lock with the fence that it has elsewhere; 0: with one above all that are known here.
    pub(crate) fn lock_above(
        &self,
        at: &At,
        who: &Version,
        lasts: Duration,
        waits: Option<Duration>,
        fence: u64,
    ) -> Asked {
        let (now, mut state) = (self.now(), self.state());
        state.sweep(now);
        let above = (state.fence + 1).max(fence);
        state.fence = state.fence.max(fence);
        let held = state.locks.entry(at.clone()).or_default();
        match &mut held.by {
            Some((by, held, until)) if by == who && *until > now => {
                *held = fence.max(*held);
                *until = now + micros(lasts);
                return Asked::Held(*held);
            }
            Some((.., until)) if *until <= now => held.by = None,
            _ => {}
        }
        held.queue.retain(|(_, until)| *until >= now);
        if held.by.is_none() && held.queue.front().is_none_or(|(first, _)| first == who) {
            held.queue.retain(|(waiting, _)| waiting != who);
            let fence = if fence > 0 { fence } else { above.max(now) };
            held.by = Some((*who, fence, now + micros(lasts)));
            state.fence = state.fence.max(fence);
            return Asked::Held(fence);
        }
        if let Some(waits) = waits {
            match held.queue.iter_mut().find(|(waiting, _)| waiting == who) {
                Some((_, until)) => *until = now + micros(waits),
                None => held.queue.push_back((*who, now + micros(waits))),
            }
        }
        let left = held.by.map_or(20_000, |(_, _, until)| until - now);
        Asked::Taken(Duration::from_micros(left))
    }

    fn seen(&self, now: u64, kept: Option<&Kept>) -> Seen {
        let record = kept.filter(|kept| kept.is_there(now)).map(|kept| kept.record(now));
        Seen { incarnation: self.own.to_vec(), now, record, was_removed: false }
    }
}

impl Kept {
    fn is_there(&self, now: u64) -> bool {
        self.until > now && self.removed.is_none()
    }

    fn record(&self, now: u64) -> Record {
        let left = Duration::from_micros(self.until.saturating_sub(now));
        Record { version: self.version, bytes: self.bytes.clone(), left, written: self.written, is_of_this_life: true }
    }

    fn is(&self, expected: &Expected) -> bool {
        match expected {
            Expected::Anything => true,
            Expected::Nothing | Expected::NothingSince(_) => false,
            Expected::Version(version) => self.version == *version,
            Expected::Before(time) => self.written < *time,
        }
    }
}

impl State {
    /// A time that no writing before has.
    fn stamp(&mut self, now: u64) -> u64 {
        self.last = now.max(self.last + 1);
        self.last
    }

    fn there(&self, at: &At, now: u64) -> Option<&Kept> {
        self.records.get(at).filter(|kept| kept.is_there(now))
    }

    fn enlist(&mut self, spot: &Spot, stamp: u64) {
        let Some((list, name)) = &spot.list else { return };
        let at = At { place: spot.at.place.clone(), name: list.clone() };
        let list = self.lists.entry(at).or_default();
        list.retain(|_, other| other != name);
        list.insert(stamp, name.clone());
    }

    fn delist(&mut self, at: &At, names: &[String]) {
        if let Some(list) = self.lists.get_mut(at) {
            list.retain(|_, name| !names.contains(name));
            if list.is_empty() {
                self.lists.remove(at);
            }
        }
    }

    fn sweep(&mut self, now: u64) {
        self.writes += 1;
        if self.writes.is_multiple_of(SWEEP) {
            self.records.retain(|_, kept| kept.until > now);
            let records = &self.records;
            self.lists.retain(|at, list| {
                list.retain(|_, name| {
                    let name = format!("{}:{name}", at.place);
                    records.contains_key(&At { place: at.place.clone(), name })
                });
                !list.is_empty()
            });
            self.rates.retain(|_, counted| counted.until > now);
            self.locks.retain(|_, held| held.by.is_some_and(|(_, _, until)| until > now) || !held.queue.is_empty());
            self.topics.retain(|_, (topic, _)| topic.receiver_count() > 0);
        }
    }
}

#[async_trait]
impl Backend for Memory {
    async fn read(&self, spot: &Spot, touch: Option<Duration>) -> Result<Seen, StoreError> {
        let (now, mut state) = (self.now(), self.state());
        let kept = state.records.get_mut(&spot.at);
        if let (Some(kept), Some(touch)) = (kept, touch)
            && kept.is_there(now)
        {
            kept.until = now + micros(touch);
        }
        Ok(self.seen(now, state.there(&spot.at, now)))
    }

    async fn write(
        &self,
        spot: &Spot,
        expected: &Expected,
        version: &Version,
        bytes: &[u8],
        kept: Duration,
    ) -> Result<Seen, StoreError> {
        let (now, mut state) = (self.now(), self.state());
        let is_expected = match state.there(&spot.at, now) {
            Some(standing) => standing.is(expected) && standing.version != *version,
            None => !matches!(expected, Expected::Version(_)),
        };
        if is_expected {
            let written = state.stamp(now);
            let until = now + micros(kept).max(1);
            let record = Kept { version: *version, bytes: bytes.to_vec(), written, until, removed: None };
            state.records.insert(spot.at.clone(), record);
            state.enlist(spot, written);
            state.sweep(now);
        }
        Ok(self.seen(now, state.there(&spot.at, now)))
    }

    async fn remove(&self, spot: &Spot, expected: &Expected, who: &Version) -> Result<Removed, StoreError> {
        let (now, mut state) = (self.now(), self.state());
        let mut record = None;
        let mut is_done = false;
        if let Some(kept) = state.records.get_mut(&spot.at).filter(|kept| kept.until > now) {
            match kept.removed {
                Some(by) if by == *who => is_done = true,
                None if kept.is(expected) => {
                    kept.removed = Some(*who);
                    is_done = true;
                }
                _ => {}
            }
            if is_done || kept.removed.is_none() {
                record = Some(kept.record(now));
            }
        }
        if is_done && let Some((list, name)) = &spot.list {
            let at = At { place: spot.at.place.clone(), name: list.clone() };
            state.delist(&at, std::slice::from_ref(name));
        }
        Ok(Removed { seen: Seen { incarnation: self.own.to_vec(), now, record, was_removed: false }, is_done })
    }

    async fn list(&self, at: &At, most: usize, gone: &[Named]) -> Result<Vec<String>, StoreError> {
        let (now, mut state) = (self.now(), self.state());
        let is_gone = |gone: &&Named| {
            let at = At { place: at.place.clone(), name: gone.record.clone() };
            state.there(&at, now).is_none()
        };
        let gone: Vec<String> = gone.iter().filter(is_gone).map(|gone| gone.member.clone()).collect();
        state.delist(at, &gone);
        Ok(state.lists.get(at).map(|list| list.values().take(most).cloned().collect()).unwrap_or_default())
    }

    async fn limit(&self, at: &At, rate: &Rate, cost: u64) -> Result<Verdict, StoreError> {
        let (now, mut state) = (self.now(), self.state());
        state.sweep(now);
        Ok(state.rates.entry(at.clone()).or_default().ask(now, rate, cost))
    }

    async fn lock(
        &self,
        at: &At,
        who: &Version,
        lasts: Duration,
        waits: Option<Duration>,
        _above: u64,
    ) -> Result<Asked, StoreError> {
        Ok(self.lock_above(at, who, lasts, waits, 0))
    }

    async fn keep(&self, at: &At, who: &Version, lasts: Option<Duration>) -> Result<bool, StoreError> {
        let (now, mut state) = (self.now(), self.state());
        let Some(held) = state.locks.get_mut(at) else { return Ok(false) };
        let own = held.by.as_mut().filter(|(by, _, until)| by == who && *until > now);
        let is_own = own.is_some();
        match (own, lasts) {
            (Some((_, _, until)), Some(lasts)) => *until = now + micros(lasts),
            (Some(_), None) => held.by = None,
            (None, _) => {}
        }
        if lasts.is_none() {
            held.queue.retain(|(waiting, _)| waiting != who);
        }
        Ok(is_own)
    }

    async fn publish(&self, at: &At, bytes: &[u8]) -> Result<u64, StoreError> {
        let mut state = self.state();
        let (topic, last) = state.topics.entry(at.clone()).or_insert_with(|| (broadcast::Sender::new(BACKLOG), 0));
        *last += 1;
        let number = *last;
        // Nobody may be there to hear it.
        drop(topic.send(Heard { numbering: self.own, number, bytes: bytes.to_vec() }));
        Ok(number)
    }

    async fn subscribe(&self, at: &At) -> Result<Box<dyn Subscribed>, StoreError> {
        let mut state = self.state();
        let (topic, _) = state.topics.entry(at.clone()).or_insert_with(|| (broadcast::Sender::new(BACKLOG), 0));
        Ok(Box::new(Ears(topic.subscribe())))
    }

    async fn change(&self, at: &At, changes: &[Change]) -> Result<(), StoreError> {
        let mut state = self.state();
        let points = state.points.entry(at.clone()).or_default();
        for change in changes {
            match change {
                Change::Put { name, longitude, latitude } => {
                    points.insert(name.clone(), geo::rounded(*longitude, *latitude));
                }
                Change::Remove { name } => {
                    points.remove(name);
                }
            }
        }
        Ok(())
    }

    async fn near(
        &self,
        at: &At,
        longitude: f64,
        latitude: f64,
        metres: f64,
        most: usize,
    ) -> Result<Vec<Found>, StoreError> {
        let state = self.state();
        let points = state.points.get(at).into_iter().flatten();
        let found = points.map(|(name, &(x, y))| Found {
            name: name.clone(),
            metres: geo::metres((longitude, latitude), (x, y)),
            longitude: x,
            latitude: y,
        });
        Ok(geo::nearest(found.collect(), metres, most))
    }
}

impl Counted {
    /// As `limit.lua` does.
    fn ask(&mut self, now: u64, rate: &Rate, cost: u64) -> Verdict {
        let arrival = self.arrival.clamp(now, now + rate.ahead);
        self.arrival = arrival;
        let next = arrival.saturating_add(cost.saturating_mul(rate.interval));
        let mut wait = next.saturating_sub(rate.ahead + now);
        let mut left = rate.ahead.saturating_sub(arrival - now) / rate.interval;
        let mut free = arrival - now;
        if let Some((most, span)) = rate.window {
            while self.allowed.front().is_some_and(|&time| time + span <= now) {
                self.allowed.pop_front();
            }
            let count = self.allowed.len() as u64;
            if count + cost > most {
                let over = usize::try_from(count + cost - most).unwrap_or(usize::MAX);
                let frees = self.allowed.get(over - 1).map_or(span, |&time| time + span - now);
                wait = wait.max(frees);
            }
            left = left.min(most.saturating_sub(count));
            if let Some(&newest) = self.allowed.back() {
                free = free.max(newest + span - now);
            }
        }
        let micros = Duration::from_micros;
        if wait > 0 {
            return Verdict { is_allowed: false, wait: micros(wait), left, free: micros(free) };
        }
        self.arrival = next;
        free = next - now;
        if let Some((_, span)) = rate.window {
            self.allowed.extend((0..cost).map(|_| now));
            free = free.max(span);
        }
        self.until = now + free;
        Verdict { is_allowed: true, wait: Duration::ZERO, left: left.saturating_sub(cost), free: micros(free) }
    }
}

struct Ears(broadcast::Receiver<Heard>);

#[async_trait]
impl Subscribed for Ears {
    async fn next(&mut self) -> Option<Heard> {
        self.0.recv().await.ok()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 8)
}
