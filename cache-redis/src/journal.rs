//! Invalidations that Redis has not acknowledged.
//!
//! A set: an invalidation that is repeated is remembered once. Past its bound it becomes "everything", which covers
//! whatever was in it. Globs have a bound of their own, since each is a walk over all keys when it is replayed.

use std::collections::HashSet;

use cache_core::Target;

/// How many globs are replayed one by one.
const GLOBS: usize = 16;

/// Invalidations that Redis has not acknowledged, up to a bound.
#[derive(Debug)]
pub(crate) struct Journal {
    targets: HashSet<Target>,
    globs: usize,
    limit: usize,
}

impl Journal {
    pub(crate) fn new(limit: usize) -> Self {
        Self { targets: HashSet::new(), globs: 0, limit }
    }

    /// Remembers these.
    pub(crate) fn add(&mut self, targets: impl IntoIterator<Item = Target>) {
        for target in targets {
            if self.targets.contains(&Target::All) {
                return;
            }
            let (is_glob, is_all) = (matches!(target, Target::Glob(_)), target == Target::All);
            self.globs += usize::from(self.targets.insert(target) && is_glob);
            if is_all || self.targets.len() > self.limit || self.globs > GLOBS {
                self.targets = HashSet::from([Target::All]);
            }
        }
    }

    /// Hands out what is remembered, to be replayed. What comes in meanwhile is not part of it; a replay that fails has
    /// to [add](Journal::add) it again.
    pub(crate) fn take(&mut self) -> Vec<Target> {
        self.globs = 0;
        self.targets.drain().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: usize) -> Target {
        Target::Entry(n.to_string())
    }

    #[test]
    fn repeats_are_remembered_once() {
        let mut journal = Journal::new(3);
        journal.add([entry(1), entry(2), entry(1), entry(1), entry(2)]);
        assert_eq!(journal.len(), 2);
    }

    #[test]
    fn past_the_bound_it_is_everything() {
        let mut journal = Journal::new(3);
        journal.add((0..3).map(entry));
        assert_eq!(journal.len(), 3);
        journal.add([entry(0)]);
        assert_eq!(journal.len(), 3, "a repeat takes no room");
        journal.add([entry(3), entry(4)]);
        assert_eq!(journal.take(), [Target::All]);
        assert!(journal.is_empty());
    }

    #[test]
    fn past_the_bound_on_globs_it_is_everything() {
        let mut journal = Journal::new(1_000);
        let glob = |n: usize| Target::Glob(n.to_string());
        journal.add((0..GLOBS).chain(0..GLOBS).map(glob));
        assert_eq!(journal.take().len(), GLOBS);
        journal.add((0..GLOBS).map(glob));
        assert_eq!(journal.len(), GLOBS, "counted anew");
        journal.add([glob(GLOBS)]);
        assert_eq!(journal.take(), [Target::All]);
    }

    #[test]
    fn everything_covers_the_rest() {
        let mut journal = Journal::new(3);
        journal.add([entry(1), Target::All, entry(2)]);
        assert_eq!(journal.take(), [Target::All]);
    }
}
