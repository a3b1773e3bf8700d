//! What generated code calls. Not part of the public interface: it changes with the macros, in any release.
//!
//! `#[cached]` puts a companion beside each function, which answers a `Function`: the function's place in the key
//! space, with the parameters that are still to be given in its type. The cached function completes it with its own
//! arguments, `#[invalidates]` with those of a target, so both come to the same key by one path. What a function
//! returns is recognised by type, in [`shape!`](crate::__shape), so that aliases of `Result` work.

mod argument;
mod batch;
mod function;
mod invalidation;
mod own;
pub(crate) mod place;
mod shape;
mod share;
mod types;

pub use argument::{Anything, Computed, KeyArg};
pub use batch::{
    Again, AnswersEachId, Batch, BatchShape, Found, HashedId, Id, IdOf, ProbeNoBatch, ProbeOwnedBatch,
    ProbeSharedBatch, SameValue, ServeBatch, SortedId, again, keys, load,
};
pub use function::{Aim, Complete, Fits, Function, Given, Needs, Nothing, OneMore, Unchecked};
pub use invalidation::{Finished, Invalidation, OkOfAny, OkOfResult, Refuse, refuse, run_all};
pub use inventory;
pub use own::{Address, NewTag, Own, OwnTags, Part, Tagged};
pub use shape::{
    Absent, Begun, Cacheable, Call, Cloneable, Probe, ProbeOption, ProbePlain, ProbeResult, ProbeShared, Serve, Shape,
};

pub use share::{Apart, Entries, Returns, Shareable, TagTemplate, Terms, entries_of};

pub use crate::{
    __Function as Function, __again as again, __batch as batch, __invalidator as invalidator, __ok as ok,
    __return_ok as return_ok, __returns as returns, __shape as shape, __shape_of as shape_of, __site as site, Cache,
    Key, KeyPart, L1, Policy, Tag, Target,
    key::{Segment, Sequence},
    registry::{Invalidator, Registered, RegisteredInvalidator, Site},
};
pub use std::time::Duration;

/// A policy; the rest of it is set by its own methods.
pub const fn policy(ttl: Duration) -> Policy {
    Policy::new(ttl)
}

/// A policy whose TTL is whole seconds.
pub const fn policy_of_secs(ttl: u64) -> Policy {
    Policy::new(Duration::from_secs(ttl))
}

/// Whole seconds.
pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
