//! Quarantines: which entries, nodes and tags nothing is stored for at present.
//!
//! They stand beside the entries and are not part of their limit, since evicting one would lose it. A quarantine that
//! has lapsed counts as none; it goes when its target is held again, or when as many have come in as there were.
//!
//! Invariant that the store's hit path rests on, which does not look here: a quarantine is registered before its
//! targets are invalidated, and a lease is handed out only if none is registered *after* the lease stands in the
//! map. So a lease that stands under a quarantine is either removed with its target or never handed out, and no value can
//! follow it.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::RwLock;
use quick_cache::DefaultHashBuilder;

use crate::{
    clock::{Clock, Tick},
    key::{Key, Target},
    mutant::{self, Mutant},
    store::HolderId,
};

/// With fewer targets than this, what has lapsed is not worth looking for.
const FEW: usize = 64;

/// Who holds a target, and until when.
type Holders = Vec<(HolderId, Tick)>;

type Map = HashMap<Box<str>, Holders, DefaultHashBuilder>;

#[derive(Default)]
struct Table {
    entries: Map,
    nodes: Map,
    tags: Map,
    /// At how many targets the lapsed ones are looked for.
    full: usize,
}

/// All quarantines of a store.
#[derive(Default)]
pub(super) struct Holds {
    table: RwLock<Table>,
    /// How many targets the table lists, to spare a store without quarantines the lock.
    count: AtomicUsize,
}

impl Holds {
    /// Registers a holder of these targets, or prolongs its term. Targets that cannot be held are left out.
    pub(super) fn add(&self, targets: &[Target], holder: HolderId, now: Tick, until: Tick) {
        let mut table = self.table.write();
        if table.len() >= table.full {
            table.prune(now);
        }
        for target in targets {
            let Some((map, name)) = table.place(target) else { continue };
            let holders = map.entry(name.into()).or_default();
            holders.retain(|(_, until)| now < *until);
            match holders.iter_mut().find(|(other, _)| *other == holder) {
                Some((_, term)) => *term = until.max(*term),
                None => holders.push((holder, until)),
            }
        }
        self.count.store(table.len(), Ordering::SeqCst);
    }

    /// Takes a holder off these targets.
    pub(super) fn remove(&self, targets: &[Target], holder: HolderId) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut table = self.table.write();
        for target in targets {
            let Some((map, name)) = table.place(target) else { continue };
            let Some(holders) = map.get_mut(name) else { continue };
            holders.retain(|(other, _)| *other != holder);
            if holders.is_empty() {
                map.remove(name);
            }
        }
        self.count.store(table.len(), Ordering::SeqCst);
    }

    /// Whether anybody holds the entry, a node above it or at its path, or one of its tags.
    #[inline]
    pub(super) fn cover(&self, key: &Key, clock: &Clock) -> bool {
        self.count.load(Ordering::SeqCst) != 0
            && !mutant::is(Mutant::MemoryHoldsNothing)
            && self.table.read().covers(key, clock.tick())
    }
}

impl Table {
    fn place<'a>(&mut self, target: &'a Target) -> Option<(&mut Map, &'a str)> {
        match target {
            Target::Entry(path) => Some((&mut self.entries, path)),
            Target::Node(path) => Some((&mut self.nodes, path)),
            Target::Tag(tag) => Some((&mut self.tags, tag.as_str())),
            Target::Glob(_) | Target::All => None,
        }
    }

    fn covers(&self, key: &Key, now: Tick) -> bool {
        let held =
            |map: &Map, name: &str| map.get(name).is_some_and(|holders| holders.iter().any(|(_, until)| now < *until));
        let path = key.as_str();
        held(&self.entries, path)
            || held(&self.nodes, path)
            || key.nodes().any(|node| held(&self.nodes, node))
            || key.tags().iter().any(|tag| held(&self.tags, tag.as_str()))
    }

    fn prune(&mut self, now: Tick) {
        for map in [&mut self.entries, &mut self.nodes, &mut self.tags] {
            map.retain(|_, holders| {
                holders.retain(|(_, until)| now < *until);
                !holders.is_empty()
            });
        }
        self.full = self.len() * 2 + FEW;
    }

    fn len(&self) -> usize {
        self.entries.len() + self.nodes.len() + self.tags.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_has_lapsed_takes_no_room_for_long() {
        let (holds, start) = (Holds::default(), Clock::System.tick());
        for number in 0..10_000_u32 {
            let now = start.after(Duration::from_secs(number.into()));
            let target = Target::Entry(number.to_string());
            holds.add(&[target], HolderId::new(), now, now.after(Duration::from_secs(5)));
        }
        assert!(holds.count.load(Ordering::SeqCst) <= 2 * (FEW + 5), "{:?}", holds.count);
    }

    #[test]
    fn who_releases_leaves_nothing_behind() {
        let (holds, clock, holder) = (Holds::default(), Clock::System, HolderId::new());
        let now = clock.tick();
        let targets = [Target::Entry("a".into()), Target::Node("a".into()), Target::Tag(crate::Tag::new("a"))];
        holds.add(&targets, holder, now, now.after(Duration::from_secs(5)));
        assert!(holds.cover(&Key::new("a"), &clock));
        holds.remove(&targets, HolderId::new());
        assert_eq!(holds.count.load(Ordering::SeqCst), 3);
        holds.remove(&targets, holder);
        assert_eq!(holds.count.load(Ordering::SeqCst), 0);
    }
}
