//! What instances tell the supervisor: what happened, and when. A line of JSON each.

use serde::{Deserialize, Serialize};

use crate::{clock::Nanos, kit::Granted};

/// Numbers the lives of all instances: each start has its own.
pub(crate) type Life = u32;

/// Something that happened in an instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Fact {
    /// The instance in this place has begun to work.
    Began {
        place: usize,
    },
    /// It has joined Redis for the first time: what an earlier life has left in the journal's file is in force.
    Joined {
        at: Nanos,
    },
    Read(Read),
    Commit(Commit),
    Write(Write),
    /// A journaled invalidation has been replayed.
    InForce {
        row: i64,
        version: i64,
        at: Nanos,
    },
    /// A method that must not write without the store has refused.
    Refused,
    /// The process did not run for this long.
    Stall(Nanos, Nanos),
    /// The runtime did not turn for this long.
    Late(Nanos, Nanos),
    /// The link went up or down.
    Link {
        up: bool,
        at: Nanos,
    },
    Counters(Counters),
    /// A block of the kit has granted something.
    Kit(Granted),
    /// Something that must not happen.
    Error(String),
}

/// A call of a cached method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Read {
    pub(crate) method: Method,
    pub(crate) begin: Nanos,
    pub(crate) end: Nanos,
    /// Redis was out of reach when the call began or when it ended.
    pub(crate) degraded: bool,
    pub(crate) snapshot: Snapshot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Method {
    Row,
    Team,
    Tagged,
}

/// What the cache holds: versions of rows, and which load they come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) rows: Vec<(i64, i64)>,
    pub(crate) life: Life,
    pub(crate) begin: Nanos,
    pub(crate) end: Nanos,
    pub(crate) degraded: bool,
    /// Room, so that there is something to evict.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) padding: String,
}

/// A commit inside a writing method, told before its invalidation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Commit {
    pub(crate) row: i64,
    pub(crate) version: i64,
    pub(crate) kind: Kind,
    /// When the method was called. Later than this it took its hold.
    pub(crate) called: Nanos,
    /// When the body began.
    pub(crate) begin: Nanos,
    pub(crate) at: Nanos,
    /// When the body ended.
    pub(crate) end: Nanos,
}

/// How a write invalidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Kind {
    Plain,
    Glob,
    /// By `Cache::invalidate`.
    ByHand,
    Held,
    /// Held, or not written at all.
    HeldOrRefused,
    /// Broken on purpose.
    Broken,
}

/// A writing method that has returned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) commit: Commit,
    pub(crate) begin: Nanos,
    pub(crate) end: Nanos,
    pub(crate) outcome: Told,
}

/// What an invalidation achieved, as far as the instance knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    Applied,
    Journaled,
    /// The event was lost among others.
    Unknown,
}

/// The cache's own counters, since the instance began.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) hits: u64,
    /// Of these, from copies in memory.
    pub(crate) l1_hits: u64,
    pub(crate) misses: u64,
    pub(crate) loads: u64,
    pub(crate) joined: u64,
    pub(crate) fills: u64,
    pub(crate) refused: u64,
    pub(crate) held: u64,
    pub(crate) degraded: u64,
    pub(crate) store_errors: u64,
    pub(crate) applied: u64,
    pub(crate) journaled: u64,
}
