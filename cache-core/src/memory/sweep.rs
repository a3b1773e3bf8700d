//! Walks over all entries that remove some.

use std::sync::Arc;

use super::{
    entries::{Entries, Walk},
    entry::Entry,
};
use crate::{
    glob::Glob,
    mutant::{self, Mutant},
};

/// How many entries a walk visits before it lets other tasks run.
const STEP: usize = 512;

/// A walk over all entries that removes some.
pub(super) struct Sweep<'a> {
    entries: &'a Entries,
    walk: Walk<'a>,
    doomed: Doomed,
}

pub(super) enum Doomed {
    /// Whatever stands at a key that matches.
    Matching(Glob),
    /// What was granted before this epoch.
    Before(u64),
}

impl<'a> Sweep<'a> {
    pub(super) fn new(entries: &'a Entries, doomed: Doomed) -> Self {
        Self { entries, walk: entries.walk(), doomed }
    }

    /// Goes on for a while. `false`: done.
    pub(super) fn step(&mut self) -> bool {
        for _ in 0..STEP {
            let Some(entry) = self.walk.next() else { return false };
            self.visit(&entry);
        }
        true
    }

    pub(super) fn visit(&self, entry: &Arc<Entry>) {
        match &self.doomed {
            // By key: a fill may have replaced the entry since the walk saw it.
            Doomed::Matching(_) if mutant::is(Mutant::MemoryGlobSparesLeases) && entry.grant(None).is_some() => {}
            Doomed::Matching(glob) if glob.matches(entry.key.as_bytes()) => self.entries.remove(&*entry.key),
            Doomed::Before(epoch) if entry.epoch() < *epoch => self.entries.remove_exactly(entry),
            _ => {}
        }
    }
}
