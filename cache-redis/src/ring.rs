//! Invalidations that Redis has acknowledged lately.
//!
//! A primary acknowledges before its replicas have heard of it. One that takes over may therefore lack the last of them,
//! and this instance says them again before it trusts the new one. Each is remembered for a minute, up to a bound;
//! past that the ring stands for "everything". The minute counts up to the newest one, not up to the replay: an outage
//! between the two takes nothing away.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::journal::Item;

/// Far longer than a replica lags behind that is promoted.
const KEPT: Duration = Duration::from_secs(60);

/// How many are kept: some megabytes.
const LIMIT: usize = 20_000;

/// Invalidations that Redis has acknowledged lately.
#[derive(Debug)]
pub(crate) struct Ring {
    items: HashMap<Item, Instant>,
    /// At how many the old ones are looked for.
    full: usize,
    /// When there were too many to keep.
    overflowed: Option<Instant>,
    limit: usize,
}

impl Ring {
    pub(crate) fn new() -> Self {
        Self::of(LIMIT)
    }

    fn of(limit: usize) -> Self {
        Self { items: HashMap::new(), full: limit / 4, overflowed: None, limit }
    }

    /// Remembers that these were acknowledged.
    pub(crate) fn add(&mut self, items: &[Item], now: Instant) {
        for item in items {
            if self.items.len() >= self.full {
                self.prune(now);
            }
            self.items.insert(item.clone(), now);
        }
    }

    /// What to say again.
    pub(crate) fn items(&self) -> Vec<Item> {
        match self.overflowed {
            Some(_) => vec![Item::ALL],
            None => self.items.keys().cloned().collect(),
        }
    }

    fn prune(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < KEPT;
        self.items.retain(|_, at| is_recent(*at));
        self.overflowed = self.overflowed.filter(|at| is_recent(*at));
        if self.items.len() >= self.limit {
            self.items.clear();
            self.overflowed = Some(now);
        }
        self.full = (self.items.len() * 2).clamp(self.limit / 4, self.limit);
    }
}

#[cfg(test)]
mod tests {
    use cache_core::Target;

    use super::*;

    fn item(n: usize) -> Item {
        Item { target: Target::Entry(n.to_string()), holder: None }
    }

    #[test]
    fn what_is_older_than_a_minute_goes_in_time_and_nothing_earlier() {
        let (mut ring, start) = (Ring::of(100), Instant::now());
        for n in 0..1_000 {
            ring.add(&[item(n)], start + Duration::from_secs(n as u64));
            let items = ring.items();
            assert!((n.saturating_sub(59)..=n).all(|n| items.contains(&item(n))), "{n}");
            assert!(items.len() <= 2 * 60, "{}", items.len());
        }
    }

    #[test]
    fn too_many_are_everything_for_a_minute() {
        let (mut ring, start) = (Ring::of(100), Instant::now());
        ring.add(&(0..101).map(item).collect::<Vec<_>>(), start);
        assert_eq!(ring.items(), [Item::ALL]);
        for n in 0..1_000 {
            ring.add(&[item(n)], start + Duration::from_secs(59));
        }
        assert_eq!(ring.items(), [Item::ALL]);
        for n in 0..200 {
            ring.add(&[item(n)], start + Duration::from_secs(130 + n as u64));
        }
        assert!(ring.items().contains(&item(199)) && !ring.items().contains(&Item::ALL));
    }

    #[test]
    fn a_repeat_takes_no_room() {
        let (mut ring, now) = (Ring::of(4), Instant::now());
        for _ in 0..100 {
            ring.add(&[item(1), item(2)], now);
        }
        assert_eq!(ring.items().len(), 2);
    }
}
