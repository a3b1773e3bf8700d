//! The core of staleproof: keys, policy, single flight, values and stores.
//!
//! Most users want the facade package `staleproof`, which re-exports this crate.

pub mod cache;
#[doc(hidden)]
pub mod call;
pub mod key;
pub mod policy;
pub mod registry;
pub mod store;

pub use cache::Cache;
pub use key::{Key, KeyPart, Tag, Target};
pub use policy::Policy;
pub use store::{Outcome, Store};
