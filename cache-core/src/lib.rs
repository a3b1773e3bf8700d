//! The core of staleproof: keys, policy, single flight, values and stores.
//!
//! Most users want the facade package `staleproof`, which re-exports this crate.

pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod glob;
pub mod key;
pub mod memory;
pub mod policy;
pub mod store;

pub use clock::{Clock, ManualClock};
pub use key::{Key, KeyPart, Tag, Target};
pub use memory::MemoryStore;
pub use policy::Policy;
pub use store::{Outcome, Store};
