//! The core of staleproof: keys, policy, single flight, values and stores.
//!
//! Most users want the facade package `staleproof`, which re-exports this crate.

pub mod cache;
#[doc(hidden)]
pub mod call;
pub mod clock;
pub mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod connect;
pub mod degraded;
pub mod doctor;
mod entry;
pub mod error;
pub mod events;
mod flight;
pub mod glob;
pub mod inspect;
pub mod key;
pub mod map;
pub mod memory;
#[doc(hidden)]
pub mod meter;
#[doc(hidden)]
pub mod mutant;
pub mod policy;
pub mod registry;
mod schema;
pub mod start;
pub mod stats;
pub mod store;
mod sync;
#[doc(hidden)]
pub mod trace;
pub mod transaction;

pub use cache::{Cache, CacheBuilder, CallResult, Health, Hold, Unavailable, Warmed, Warmup};
pub use clock::{Clock, ManualClock};
pub use codec::{Codec, Values};
pub use degraded::Degraded;
pub use doctor::Diagnosis;
pub use error::BuildError;
pub use events::{Event, Events};
pub use key::{Key, KeyPart, Tag, Target};
pub use map::map;
pub use memory::MemoryStore;
pub use policy::{L1, Policy};
pub use start::Start;
pub use stats::{FunctionStats, Requests, Stats};
pub use store::{Outcome, Store};
pub use transaction::transaction;
