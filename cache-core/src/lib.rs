//! The core of staleproof: keys, policy, single flight, values and stores.
//!
//! Most users want the facade package `staleproof`, which re-exports this crate.

mod flight;
pub mod key;
pub mod policy;
pub mod store;
mod sync;

pub use key::{Key, KeyPart, Tag, Target};
pub use policy::Policy;
pub use store::{Outcome, Store};
