//! What the building blocks are made of: steps that are atomic, over Redis and in this process's memory.

use std::time::Duration;

use async_trait::async_trait;
use cache_core::store::{HolderId, StoreError};

/// Where something is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct At {
    /// What is in one place is on one server of a cluster.
    pub(crate) place: String,
    /// Its name.
    pub(crate) name: String,
}

/// Where a record is kept, and the list that names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spot {
    pub(crate) at: At,
    /// The list's name, in the same place, and the record's name there.
    pub(crate) list: Option<(String, String)>,
}

/// A record by its name, and its name in a list of the same place.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) record: String,
    pub(crate) member: String,
}

/// The name of one writing of a record. Unique for all time.
pub(crate) type Version = [u8; 32];

/// A version that no other writing has.
pub(crate) fn version() -> Version {
    HolderId::new().0
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) version: Version,
    pub(crate) bytes: Vec<u8>,
    /// How long it is kept unless it is touched.
    pub(crate) left: Duration,
    /// When it was written, in microseconds there.
    pub(crate) written: u64,
    /// Whether it was written since the server last restarted, or another took its place: it cannot be from the past.
    pub(crate) is_of_this_life: bool,
}

/// What a look at a record shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Names the life of the server: data that were written in another one may be missing, or from the past.
    pub(crate) incarnation: Vec<u8>,
    /// The time there, in microseconds.
    pub(crate) now: u64,
    pub(crate) record: Option<Record>,
    /// There is none because one was removed, lately.
    pub(crate) was_removed: bool,
}

/// What has to be there for a record to be replaced or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Anything,
    Nothing,
    /// Nothing, as was seen at this time, in microseconds there.
    NothingSince(u64),
    Version(Version),
    /// Nothing, or what was written or removed before this time, in microseconds there.
    Before(u64),
}

/// What became of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) seen: Seen,
    /// Whether this removal, or the same one sent before, has removed it; the record is then the one that was there.
    pub(crate) is_done: bool,
}

/// A limit, in the terms of its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Microseconds between arrivals.
    pub(crate) interval: u64,
    /// Microseconds that may be taken ahead.
    pub(crate) ahead: u64,
    /// How many in a window, and its microseconds.
    pub(crate) window: Option<(u64, u64)>,
}

/// What a limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) is_allowed: bool,
    /// How long until it would be.
    pub(crate) wait: Duration,
    /// How many more are allowed now.
    pub(crate) left: u64,
    /// How long until all of the quota is there again.
    pub(crate) free: Duration,
}

/// What asking for a lock came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// With its fencing token.
    Held(u64),
    /// How long it is held at most unless it is kept.
    Taken(Duration),
}

/// A point that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) metres: f64,
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
}

/// What a change of points is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Put { name: String, longitude: f64, latitude: f64 },
    Remove { name: String },
}

/// A message of a topic as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Names the numbering.
    pub(crate) numbering: Version,
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A subscription.
#[async_trait]
pub(crate) trait Subscribed: Send {
    /// `None`: the connection was lost, or messages were.
    async fn next(&mut self) -> Option<Heard>;
}

/// Where things are kept. Each step is atomic and bounded in time.
///
/// After [`StoreError::Unavailable`] a step has not been done; after other errors it may have been, and is not done later. Steps that name a version, or who asks, may
/// be sent again: that changes nothing more.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// The time there: now, or when contact was lost. Never too late; 0: not known.
    fn contact(&self) -> u64 {
        0
    }

    /// A record, which is kept for `touch` from now on if that is given.
    async fn read(&self, spot: &Spot, touch: Option<Duration>) -> Result<Seen, StoreError>;

    /// Writes a record if what is there is as expected. What stands there then shows whether it was.
    async fn write(
        &self,
        spot: &Spot,
        expected: &Expected,
        version: &Version,
        bytes: &[u8],
        kept: Duration,
    ) -> Result<Seen, StoreError>;

    /// Removes a record if it is as expected.
    async fn remove(&self, spot: &Spot, expected: &Expected, who: &Version) -> Result<Removed, StoreError>;

    /// The names in a list from the oldest on, without those of `gone` whose records, by name, are still not there.
    async fn list(&self, at: &At, most: usize, gone: &[Named]) -> Result<Vec<String>, StoreError>;

    async fn limit(&self, at: &At, rate: &Rate, cost: u64) -> Result<Verdict, StoreError>;

    /// Takes a lock, with a fence above one that is known, or a place in the queue that lasts for `waits`.
    async fn lock(
        &self,
        at: &At,
        who: &Version,
        lasts: Duration,
        waits: Option<Duration>,
        above: u64,
    ) -> Result<Asked, StoreError>;

    /// Keeps a lock for so long from now on, or gives it and the place in the queue back. `false`: it was not held.
    async fn keep(&self, at: &At, who: &Version, lasts: Option<Duration>) -> Result<bool, StoreError>;

    async fn publish(&self, at: &At, bytes: &[u8]) -> Result<u64, StoreError>;

    async fn subscribe(&self, at: &At) -> Result<Box<dyn Subscribed>, StoreError>;

    async fn change(&self, at: &At, change: &[Change]) -> Result<(), StoreError>;

    /// Points within a radius, the nearest first.
    async fn near(
        &self,
        at: &At,
        longitude: f64,
        latitude: f64,
        metres: f64,
        most: usize,
    ) -> Result<Vec<Found>, StoreError>;
}
