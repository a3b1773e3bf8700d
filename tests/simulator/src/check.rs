//! What must hold: the promise, written down without looking at how the product keeps it.
//!
//! A read began knowing which invalidations had returned. Whatever it returns must be at least as new as the source was when
//! the newest of them that covers its key was called. These floors say so:
//!
//! - An invalidation that returned `Applied` raises the floor of all instances.
//! - One that returned `Journaled` raises that of its own instance at once, and that of all when this instance is seen
//!   with its store in reach again. Where copies are leased that of the others follows when no lease from before can last: a replay
//!   tells them, and does not wait for them.
//! - A commit under a quarantine that stands raises the floor of all, whatever becomes of its invalidation.
//! - Where copies are served for a bounded time, an instance is held to the floor of others as it was so long before, and to its
//!   own floor as ever.
//! - An instance whose store was out of reach at any time during a read is held to the floor of others only as it was
//!   before the degraded lifetime and the longest load; to its own floor as ever.

use std::collections::HashMap;

/// The floors of all keys.
pub(crate) struct Checker {
    everywhere: Vec<Floor>,
    own: HashMap<u64, Vec<u64>>,
    /// What each instance has in its journal.
    journaled: HashMap<u64, Vec<(usize, u64)>>,
    /// How long it takes until what was replayed is in force everywhere.
    lapse: u64,
    /// For how long copies are served unasked.
    bound: u64,
    /// What was replayed, and when that is in force.
    replayed: Vec<(u64, usize, u64)>,
    last_down: HashMap<u64, u64>,
    pub(crate) failure: Option<Failure>,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The number of the key.
    pub key: usize,
    /// What happened.
    pub what: String,
}

#[derive(Clone, Default)]
struct Floor {
    /// When it rose, and to what.
    steps: Vec<(u64, u64)>,
}

/// A read under way.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) instance: u64,
    pub(crate) key: usize,
    pub(crate) began: u64,
    own: u64,
    everywhere: u64,
}

impl Floor {
    fn now(&self) -> u64 {
        self.steps.last().map_or(0, |(_, version)| *version)
    }

    fn at(&self, time: u64) -> u64 {
        self.steps.iter().rev().find(|(at, _)| *at <= time).map_or(0, |(_, version)| *version)
    }

    fn raise(&mut self, now: u64, version: u64) {
        if version > self.now() {
            self.steps.push((now, version));
        }
    }
}

impl Checker {
    pub(crate) fn new(keys: usize, lapse: u64, bound: u64) -> Self {
        Self {
            everywhere: vec![Floor::default(); keys],
            own: HashMap::new(),
            journaled: HashMap::new(),
            lapse,
            bound,
            replayed: Vec::new(),
            last_down: HashMap::new(),
            failure: None,
        }
    }

    pub(crate) fn begin(&self, instance: u64, key: usize, now: u64) -> Ticket {
        let own = self.own.get(&instance).map_or(0, |own| own[key]);
        Ticket { instance, key, began: now, own, everywhere: self.everywhere[key].now() }
    }

    /// A read returned this version. `grace` is how long a degraded instance may lag.
    pub(crate) fn end(&mut self, ticket: &Ticket, version: u64, down: bool, grace: u64) {
        let degraded = down || self.last_down.get(&ticket.instance).is_some_and(|last| *last >= ticket.began);
        let lag = self.bound + if degraded { grace } else { 0 };
        let everywhere =
            if lag > 0 { self.everywhere[ticket.key].at(ticket.began.saturating_sub(lag)) } else { ticket.everywhere };
        if version >= everywhere.max(ticket.own) {
            return;
        }
        let Ticket { instance, key, began, own, everywhere: floor } = ticket;
        self.fail(
            *key,
            format!(
                "instance {instance}{} served version {version}; when the read began at {began}, invalidations of version \
                 {floor} everywhere and {own} in this instance had returned",
                if degraded { " (degraded)" } else { "" }
            ),
        );
    }

    pub(crate) fn applied(&mut self, instance: u64, wanted: &[(usize, u64)], now: u64) {
        self.in_force_here(instance, wanted);
        self.committed_under_hold(wanted, now);
    }

    /// What was committed under a quarantine that stood: nobody with the store in reach sees anything older from now on.
    pub(crate) fn committed_under_hold(&mut self, wanted: &[(usize, u64)], now: u64) {
        for (key, version) in wanted {
            self.everywhere[*key].raise(now, *version);
        }
    }

    pub(crate) fn journaled(&mut self, instance: u64, wanted: &[(usize, u64)]) {
        self.in_force_here(instance, wanted);
        self.journaled.entry(instance).or_default().extend(wanted);
    }

    fn in_force_here(&mut self, instance: u64, wanted: &[(usize, u64)]) {
        let keys = self.everywhere.len();
        let own = self.own.entry(instance).or_insert_with(|| vec![0; keys]);
        for (key, version) in wanted {
            own[*key] = own[*key].max(*version);
        }
    }

    /// What was seen of an instance's store.
    pub(crate) fn link(&mut self, instance: u64, up: bool, now: u64) {
        if !up {
            self.last_down.insert(instance, now);
        } else if let Some(replayed) = self.journaled.remove(&instance) {
            let due = now + self.lapse;
            self.replayed.extend(replayed.into_iter().map(|(key, version)| (due, key, version)));
        }
        let everywhere = &mut self.everywhere;
        self.replayed.retain(|&(due, key, version)| {
            if due <= now {
                everywhere[key].raise(now, version);
            }
            due > now
        });
    }

    /// The instance is gone, and its journal with it.
    pub(crate) fn crashed(&mut self, instance: u64) {
        self.own.remove(&instance);
        self.journaled.remove(&instance);
    }

    pub(crate) fn fail(&mut self, key: usize, what: String) {
        self.failure.get_or_insert(Failure { key, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(checker: &mut Checker, ticket: &Ticket, version: u64, down: bool) -> bool {
        checker.end(ticket, version, down, 100);
        checker.failure.take().is_some()
    }

    #[test]
    fn what_was_applied_before_a_read_began_is_out_for_all() {
        let mut checker = Checker::new(1, 0, 0);
        let before = checker.begin(1, 0, 5);
        checker.applied(2, &[(0, 3)], 10);
        let after = checker.begin(1, 0, 10);
        assert!(!fails(&mut checker, &before, 2, false));
        assert!(fails(&mut checker, &after, 2, false));
        assert!(!fails(&mut checker, &after, 3, false));
    }

    #[test]
    fn what_was_journaled_is_out_in_its_own_instance_then_for_all() {
        let mut checker = Checker::new(1, 0, 0);
        checker.link(2, false, 9);
        checker.journaled(2, &[(0, 3)]);
        let (own, other) = (checker.begin(2, 0, 10), checker.begin(1, 0, 10));
        assert!(fails(&mut checker, &own, 2, true));
        assert!(!fails(&mut checker, &other, 2, false));
        checker.link(2, true, 20);
        let other = checker.begin(1, 0, 21);
        assert!(fails(&mut checker, &other, 2, false));
    }

    #[test]
    fn what_was_replayed_is_in_force_elsewhere_when_no_older_lease_can_last() {
        let mut checker = Checker::new(1, 1_000, 0);
        checker.journaled(2, &[(0, 3)]);
        checker.link(2, true, 10);
        checker.link(1, true, 1_009);
        let (soon, own) = (checker.begin(1, 0, 1_009), checker.begin(2, 0, 11));
        assert!(!fails(&mut checker, &soon, 2, false));
        assert!(fails(&mut checker, &own, 2, false));
        checker.link(1, true, 1_010);
        let late = checker.begin(1, 0, 1_010);
        assert!(fails(&mut checker, &late, 2, false));
    }

    #[test]
    fn a_degraded_instance_may_lag_but_not_for_long() {
        let mut checker = Checker::new(1, 0, 0);
        checker.applied(2, &[(0, 3)], 10);
        let (soon, late) = (checker.begin(1, 0, 50), checker.begin(1, 0, 110));
        checker.link(1, false, 112);
        assert!(!fails(&mut checker, &soon, 2, true));
        assert!(fails(&mut checker, &late, 2, true));
        assert!(fails(&mut checker, &late, 2, false), "it was down during the read");
        let later = checker.begin(1, 0, 113);
        assert!(fails(&mut checker, &later, 2, false), "it is not any more");
    }

    #[test]
    fn a_bounded_copy_may_lag_behind_others_for_as_long_and_behind_its_own_never() {
        let mut checker = Checker::new(1, 0, 300);
        checker.applied(2, &[(0, 3)], 10);
        let (soon, late, own) = (checker.begin(1, 0, 309), checker.begin(1, 0, 310), checker.begin(2, 0, 11));
        assert!(!fails(&mut checker, &soon, 2, false));
        assert!(fails(&mut checker, &late, 2, false));
        assert!(fails(&mut checker, &own, 2, false));
    }
}
