//! What a backend implements: a place that remembers bytes under leases and tokens.
//!
//! The rules that make invalidations hold, the same for every store:
//!
//! - *Absence means invalid, and a token is never created twice.* Each node, each tag and the whole namespace has a
//!   token, random and unique per creation. An entry carries a stamp of the tokens above it; it is a hit only while
//!   the stamp fits the tokens as they are now.
//! - A value is stored only under a *lease* that was taken before its load began and that nothing has removed since.
//! - Invalidating removes: the entry (value or lease), the token of a node or tag, or the namespace's token.
//! - A *quarantine* stands in the place of an entry or a token, so that neither lease nor value can be there. When its
//!   last holder releases it or lapses, nothing is there.

use std::{
    any::Any,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    codec::Meta,
    doctor::Finding,
    inspect::Inspect,
    key::{Key, Target},
};

/// Names one lease, and later the value that was stored under it. Unique for all time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId(pub [u8; 32]);

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseId({})", String::from_utf8_lossy(&self.0).escape_debug())
    }
}

/// Names one quarantine. Unique for all time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HolderId(pub [u8; 32]);

impl HolderId {
    /// A name that no other quarantine has or had, in letters and digits.
    #[allow(clippy::new_without_default, reason = "no two are alike, which a default should be")]
    pub fn new() -> Self {
        Self(crate::memory::unique_name())
    }
}

impl fmt::Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HolderId({})", String::from_utf8_lossy(&self.0).escape_debug())
    }
}

/// The right to store one load's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Unique for all time.
    pub id: LeaseId,
    /// The store's own note of the tokens that the lease was taken under.
    pub stamp: [u8; 32],
    /// The value that the fill replaces, for a lease beside a value; `None` for a lease in the entry's own place.
    pub replaces: Option<LeaseId>,
}

/// A stored value as a store hands it over.
#[derive(Clone)]
pub enum Payload {
    /// Header and encoded value. Cheap to clone.
    Bytes(Bytes),
    /// The value itself, for stores that [hold objects](Store::holds_objects).
    Object {
        /// The decoded value, shared.
        value: Arc<dyn Any + Send + Sync>,
        /// What is stored beside it.
        meta: Meta,
        /// What it costs, in bytes.
        weight: usize,
    },
}

impl Payload {
    /// How many bytes it has, encoded or in memory.
    pub fn weight(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Object { weight, .. } => *weight,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Payload({} bytes)", bytes.len()),
            Self::Object { weight, .. } => write!(f, "Payload(object of {weight} bytes)"),
        }
    }
}

/// A value and the lease that stored it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The lease that it was stored under.
    pub id: LeaseId,
    /// The value.
    pub payload: Payload,
}

/// The answer of [`Store::read`].
#[derive(Clone, Debug)]
pub enum Read {
    /// A value that nothing has invalidated.
    Hit(Stored),
    /// Nothing valid. `loading` is the lease of a load that runs now, under the tokens as they are now.
    Miss {
        /// The lease that stands at the entry, if it is still good.
        loading: Option<LeaseId>,
    },
    /// Quarantined by a writer: load from the source and store nothing.
    Held,
}

/// What a lease is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing valid is there. `unreadable` names a value that is valid by its stamp but could not be decoded: it
    /// counts as absent.
    Load {
        /// The value to disregard.
        unreadable: Option<LeaseId>,
    },
    /// Replace this value, which stays readable meanwhile.
    Refresh(LeaseId),
}

/// The answer of [`Store::acquire`].
#[derive(Clone, Debug)]
pub enum Acquired {
    /// Load, then fill.
    Lease(Lease),
    /// Somebody stored a value meanwhile.
    Value(Stored),
    /// Somebody else is loading under this lease.
    Wait {
        /// Its lease.
        lease: LeaseId,
        /// How long that lasts unless it is renewed.
        left: Duration,
    },
    /// Quarantined by a writer: load from the source and store nothing.
    Held,
    /// For [`Purpose::Refresh`]: the value is no longer there.
    Gone,
}

/// The answer of [`Store::fill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Stored.
    Stored,
    /// The lease had lapsed, or an invalidation had removed it: nothing was stored.
    Refused,
}

/// What an invalidation achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No instance can serve the old value from now on.
    Applied,
    /// The store was out of reach: applied in this instance, queued, and replayed before this instance trusts the
    /// store again. A replay tells those who keep copies under a [lease](crate::L1::Leased), and does not wait for them: what
    /// they have is gone 1.05 s later at most.
    Journaled,
}

/// Whether a store can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Calls are answered.
    Up,
    /// Calls fail at once, until the store has reconnected by itself.
    Down {
        /// When the store went out of reach.
        since: Instant,
        /// How many invalidations wait to be replayed.
        journal: usize,
    },
}

impl Outcome {
    /// In lower case, as it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Journaled => "journaled",
        }
    }
}

/// What a store's calls of its server came to, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Commands, or pipelines of them, that were sent and waited for. What leaves together for many callers is one.
    pub round_trips: u64,
    /// Calls that had no answer in time.
    pub timeouts: u64,
    /// How often the server was lost: what calls go over was given up.
    pub losses: u64,
    /// How often data counted as invalidated because they may have been from the past; in a cluster for each partition.
    pub fences: u64,
    /// Queued invalidations that were replayed.
    pub replayed: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.round_trips += other.round_trips;
        self.timeouts += other.timeouts;
        self.losses += other.losses;
        self.fences += other.fences;
        self.replayed += other.replayed;
    }
}

/// A store call that had no answer. It never reaches the caller of a cached method.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Not connected.
    #[error("the store is out of reach")]
    Unavailable,
    /// No answer within the bound on calls. The call may or may not have taken effect.
    #[error("the store did not answer in time")]
    Timeout,
    /// The store answered with an error.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A glob or the whole namespace was to be [held](Store::hold). Comes in [`StoreError::Failed`].
#[derive(Debug, thiserror::Error)]
#[error("only entries, nodes and tags can be quarantined")]
pub struct NotHoldable;

/// What an instance keeps of the store's values in memory of its own, to be told what anybody invalidates.
///
/// The calls come one at a time. They are made where the store must not wait, so they have to be short, and must not call
/// the store.
pub trait Nearby: Send + Sync {
    /// These are invalid from now on. Comes in the order in which the store made it known, and may come twice.
    fn invalidate(&self, targets: &[Target]);

    /// Nothing that is kept may be served any more: the feed was lost, or may have a gap. Ends what
    /// [`may_serve_until`](Nearby::may_serve_until) has allowed.
    fn empty(&self);

    /// What is kept may be served until this moment. It never moves backwards, except that [`empty`](Nearby::empty) ends it.
    fn may_serve_until(&self, until: Instant);
}

/// What a backend implements.
///
/// Every call is bounded in time by the store itself and answers [`StoreError`] rather than wait for longer. Any call may
/// be dropped at any await point; what it had already sent may still take effect.
///
/// The memory store and the Redis store pass the suite in `cache_core::conformance`, which runs over any
/// implementation.
#[async_trait]
pub trait Store: Any + Send + Sync {
    /// What the store is, for logs: `memory`, `redis`.
    fn name(&self) -> &'static str;

    /// Whether [`Payload::Object`] may be given to [`Store::fill`]. Otherwise values come as bytes.
    fn holds_objects(&self) -> bool {
        false
    }

    /// [`Store::read`] for stores that can answer without waiting. `None` means: call `read`.
    fn read_now(&self, _key: &Key) -> Option<Read> {
        None
    }

    /// Reads an entry in one round trip.
    async fn read(&self, key: &Key) -> Result<Read, StoreError>;

    /// Whether a value that the caller holds is what a read would hit now: [`Store::read`] without the payload, unless that is
    /// so small that leaving it out costs more.
    async fn still_holds(&self, key: &Key, known: &Stored) -> Result<bool, StoreError> {
        Ok(matches!(self.read(key).await?, Read::Hit(stored) if stored.id == known.id))
    }

    /// Asks for the right to load. The lease lapses after `lasts` unless it is [renewed](Store::renew). Tokens that are
    /// missing come into being here.
    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError>;

    /// Keeps a lease for `lasts` from now on. `false`: it is gone.
    async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> Result<bool, StoreError>;

    /// Stores a value for `ttl`, if the lease is still there.
    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError>;

    /// Gives a lease back without a value. Other leases and values are left alone.
    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError>;

    /// Invalidates all targets. A store that is out of reach queues them and answers [`Outcome::Journaled`]; it fails
    /// only where it can do neither.
    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError>;

    /// Quarantines entries, nodes and tags for `holder`, for `lasts` from now on. Readers load from the source and store
    /// nothing ([`Read::Held`], [`Acquired::Held`]), and fills of loads that run already are refused. A node's quarantine
    /// covers the entry at its own path too.
    ///
    /// Asking again with the same holder prolongs; it never shortens. Any number of holders may hold one target: it is
    /// free once all have released it or lapsed. [Invalidating](Store::invalidate) it meanwhile ends no quarantine. A
    /// lapse leaves nothing behind that could be served.
    ///
    /// Whoever asks takes every error for "not held": a call without an answer may have taken effect, and then lapses by
    /// itself. A store may lose a quarantine with all else that it loses, by an eviction, a flush or a failover, so
    /// what was held has to be [released](Store::release_hold) or invalidated all the same.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] of [`NotHoldable`] if a glob or [`Target::All`] is among the targets: nothing is held then.
    /// [`StoreError::Unavailable`] while the store is out of reach.
    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError>;

    /// Ends this holder's quarantine of the targets and invalidates them; other holders' quarantines stay. Targets that
    /// this holder does not hold, or that nobody can hold, are invalidated all the same.
    ///
    /// A store that is out of reach queues both and answers [`Outcome::Journaled`], as [`Store::invalidate`] does.
    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError>;

    /// Tells `nearby` of all invalidations from now on, also those of other instances, and for how long it may serve what
    /// it keeps. An invalidation, or a quarantine, returns [`Applied`](Outcome::Applied) only when everybody who may serve
    /// has been told, or may no longer.
    ///
    /// `false`: this store has no feed, and `nearby` is never called. `true` promises no lease: where the server refuses the
    /// feed, [`may_serve_until`](Nearby::may_serve_until) is never called.
    fn feed(&self, _nearby: Arc<dyn Nearby>) -> bool {
        false
    }

    /// Serves nothing unasked any more of what `nearby` keeps, so that nobody's invalidation waits for this instance: for one that is about
    /// to end. All else goes on.
    async fn leave(&self) {}

    /// Looks for what is wrong with the store and its settings.
    async fn examine(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// Lets operators look into it. `None`: it does not.
    fn inspect(&self) -> Option<&dyn Inspect> {
        None
    }

    /// What the calls of its server came to. `None`: there is no server.
    fn traffic(&self) -> Option<Traffic> {
        None
    }

    /// Follows whether the store can be reached. `None`: always.
    fn link(&self) -> Option<watch::Receiver<Link>> {
        None
    }
}
