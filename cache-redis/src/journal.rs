//! Invalidations that Redis has not acknowledged.
//!
//! A set: an invalidation that is repeated is remembered once. Past its bound it becomes "everything", which covers
//! whatever was in it. Globs have a bound of their own, since each is a walk over all keys when it is replayed.

mod file;

use std::collections::HashSet;

use cache_core::{Target, store::HolderId};

pub(crate) use self::file::JournalFile;

/// An invalidation, and whose quarantine of the target it ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) target: Target,
    pub(crate) holder: Option<HolderId>,
}

impl Item {
    /// Everything. Quarantines are not part of it; they lapse.
    pub(crate) const ALL: Self = Self { target: Target::All, holder: None };

    pub(crate) fn of(targets: &[Target], holder: Option<HolderId>) -> Vec<Self> {
        targets.iter().map(|target| Self { target: target.clone(), holder }).collect()
    }
}

/// How many globs are replayed one by one.
const GLOBS: usize = 16;

/// Invalidations that Redis has not acknowledged, up to a bound.
#[derive(Debug)]
pub(crate) struct Journal {
    items: HashSet<Item>,
    globs: usize,
    limit: usize,
}

impl Journal {
    pub(crate) fn new(limit: usize) -> Self {
        Self { items: HashSet::new(), globs: 0, limit }
    }

    /// Remembers these, and tells which of them, or what in their stead, it had not.
    pub(crate) fn add(&mut self, items: impl IntoIterator<Item = Item>) -> Vec<Item> {
        let mut new = Vec::new();
        for item in items {
            if self.items.contains(&Item::ALL) {
                break;
            }
            let (is_glob, is_all) = (matches!(item.target, Target::Glob(_)), item.target == Target::All);
            if !self.items.insert(item.clone()) {
                continue;
            }
            self.globs += usize::from(is_glob);
            if is_all || self.items.len() > self.limit || self.globs > GLOBS {
                self.items = HashSet::from([Item::ALL]);
                new = vec![Item::ALL];
            } else {
                new.push(item);
            }
        }
        new
    }

    /// Hands out what is remembered, to be replayed. What comes in meanwhile is not part of it; a replay that fails has
    /// to [add](Journal::add) it again.
    pub(crate) fn take(&mut self) -> Vec<Item> {
        self.globs = 0;
        self.items.drain().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(target: Target) -> Item {
        Item { target, holder: None }
    }

    fn entry(n: usize) -> Item {
        item(Target::Entry(n.to_string()))
    }

    #[test]
    fn repeats_are_remembered_once() {
        let mut journal = Journal::new(3);
        journal.add([entry(1), entry(2), entry(1), entry(1), entry(2)]);
        assert_eq!(journal.len(), 2);
    }

    #[test]
    fn what_is_new_is_told_and_nothing_else() {
        let mut journal = Journal::new(3);
        assert_eq!(journal.add([entry(1), entry(2), entry(1)]), [entry(1), entry(2)]);
        let released = Item { holder: Some(HolderId::new()), ..entry(1) };
        assert_eq!(journal.add([entry(2), released.clone()]), [released]);
        assert_eq!(journal.add([entry(3), entry(4)]), [Item::ALL]);
        assert_eq!(journal.add([entry(5)]), []);
    }

    #[test]
    fn past_the_bound_it_is_everything() {
        let mut journal = Journal::new(3);
        journal.add((0..3).map(entry));
        assert_eq!(journal.len(), 3);
        journal.add([entry(0)]);
        assert_eq!(journal.len(), 3, "a repeat takes no room");
        journal.add([entry(3), entry(4)]);
        assert_eq!(journal.take(), [Item::ALL]);
        assert!(journal.is_empty());
    }

    #[test]
    fn past_the_bound_on_globs_it_is_everything() {
        let mut journal = Journal::new(1_000);
        let glob = |n: usize| item(Target::Glob(n.to_string()));
        journal.add((0..GLOBS).chain(0..GLOBS).map(glob));
        assert_eq!(journal.take().len(), GLOBS);
        journal.add((0..GLOBS).map(glob));
        assert_eq!(journal.len(), GLOBS, "counted anew");
        journal.add([glob(GLOBS)]);
        assert_eq!(journal.take(), [Item::ALL]);
    }

    #[test]
    fn everything_covers_the_rest() {
        let mut journal = Journal::new(3);
        journal.add([entry(1), item(Target::All), entry(2)]);
        assert_eq!(journal.take(), [Item::ALL]);
    }
}
