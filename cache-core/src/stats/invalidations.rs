//! Invalidated targets, by what they are and what was achieved.

use super::Counter;
use crate::{key::Target, store::Outcome};

/// What a target is, as it is shown.
pub(crate) const KINDS: [&str; 5] = ["entry", "node", "tag", "glob", "all"];

const OUTCOMES: [Outcome; 2] = [Outcome::Applied, Outcome::Journaled];

/// How many targets were invalidated, for each kind and outcome.
#[derive(Debug, Default)]
pub(crate) struct Invalidations([[Counter; 2]; KINDS.len()]);

impl Invalidations {
    pub(crate) fn count(&self, targets: &[Target], outcome: Outcome) {
        for target in targets {
            self.0[kind(target)][usize::from(outcome == Outcome::Journaled)].add(1);
        }
    }

    pub(super) fn sum(&self, outcome: Outcome) -> u64 {
        self.all().filter(|(_, of, _)| *of == outcome).map(|(_, _, count)| count).sum()
    }

    /// Kind, outcome and count of all.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Outcome, u64)> {
        let rows = KINDS.into_iter().zip(&self.0);
        rows.flat_map(|(kind, row)| OUTCOMES.into_iter().zip(row).map(move |(of, counter)| (kind, of, counter.get())))
    }
}

fn kind(target: &Target) -> usize {
    match target {
        Target::Entry(_) => 0,
        Target::Node(_) => 1,
        Target::Tag(_) => 2,
        Target::Glob(_) => 3,
        Target::All => 4,
    }
}
