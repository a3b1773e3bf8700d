//! The core of staleproof: keys, policy, single flight, values and stores.
//!
//! Most users want the facade package `staleproof`, which re-exports this crate.

pub mod codec;
mod entry;
pub mod key;
pub mod policy;
mod schema;
pub mod store;

pub use codec::{Codec, Values};
pub use key::{Key, KeyPart, Tag, Target};
pub use policy::Policy;
pub use store::{Outcome, Store};
