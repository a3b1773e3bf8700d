//! The primaries of a cluster, and who owns what.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use super::map::{Claims, Spot};
use crate::{
    connection::{CallError, Connection},
    partition::{self, Partition},
};

/// The primaries of a cluster but for the session's first, and who owns what. Primaries go by their numbers; the first
/// is 0.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Where it is, for logs.
    pub(super) at: String,
    pub(super) others: Vec<Connection>,
    /// All the ways in which a redirection may name each primary; the first is how it is connected to.
    names: Vec<Vec<Spot>>,
    /// The owner of each partition.
    routes: [AtomicU16; partition::COUNT],
    /// Whether a server says that the partition's slot is on its way from or to it.
    moving: [AtomicBool; partition::COUNT],
}

impl Cluster {
    /// `owner` tells the number of the partition's owner.
    pub(super) fn new(
        at: String,
        others: Vec<Connection>,
        names: Vec<Vec<Spot>>,
        owner: impl Fn(Partition) -> usize,
    ) -> Self {
        let routes = [const { AtomicU16::new(0) }; partition::COUNT];
        let moving = [const { AtomicBool::new(false) }; partition::COUNT];
        let cluster = Self { at, others, names, routes, moving };
        Partition::all().for_each(|at| cluster.set_route(at, owner(at)));
        cluster
    }

    pub(super) fn route(&self, at: Partition) -> usize {
        usize::from(self.routes[at.index()].load(Ordering::Relaxed))
    }

    fn set_route(&self, at: Partition, index: usize) {
        // A cluster has 16,384 primaries at most, one for each slot, and some that wait for one.
        let index = u16::try_from(index).unwrap_or(0);
        self.routes[at.index()].store(index, Ordering::Relaxed);
    }

    /// Whether the partition's slot is known to be on its way.
    pub(super) fn is_moving(&self, at: Partition) -> bool {
        self.moving[at.index()].load(Ordering::Relaxed)
    }

    /// Notes which slots are on their way, by what the primaries say.
    pub(super) fn note_moves(&self, claims: &[Claims]) {
        let (mut began, mut moving) = (0, 0);
        for at in Partition::all() {
            let is_moving = claims.iter().any(|claims| claims.moves(at.slot()));
            let was_moving = self.moving[at.index()].swap(is_moving, Ordering::Relaxed);
            began += u32::from(is_moving && !was_moving);
            moving += u32::from(is_moving);
        }
        if began > 0 {
            let (at, of) = (&self.at, partition::COUNT);
            tracing::warn!(
                at,
                moving,
                of,
                "slots are on their way between servers: their part of the keys is not cached"
            );
        }
    }

    /// Notes that a partition is where the primary of this number has said.
    ///
    /// # Errors
    ///
    /// [`CallError::Moved`] if that is none of the primaries.
    pub(super) fn reroute(&self, at: Partition, said_by: usize, to: &str) -> Result<(), CallError> {
        let owner = self.named(said_by, to)?;
        self.set_route(at, owner);
        let at = at.tag();
        tracing::debug!(at, to, "a slot has moved");
        Ok(())
    }

    /// The number of the primary that another one has named.
    pub(super) fn named(&self, said_by: usize, name: &str) -> Result<usize, CallError> {
        let spot = Spot::read(name, &self.names[said_by][0].host);
        let found = spot.and_then(|spot| self.names.iter().position(|names| names.contains(&spot)));
        found.ok_or_else(|| CallError::Moved(name.to_owned()))
    }
}
