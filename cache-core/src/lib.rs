//! The core
pub mod cache;
pub mod clock;
pub mod codec;
pub mod connect;
pub mod degraded;
pub mod error;
pub mod events;
mod flight;
mod glob;
pub mod key;
pub mod memory;
pub mod policy;
pub mod registry;
pub mod stats;
pub mod store;
mod sync;

pub use cache::{Cache, CacheBuilder, Health};
pub use degraded::Degraded;
pub use error::BuildError;
pub use events::{Event, Events};
pub use key::{Key, KeyPart, Tag, Target};
pub use policy::Policy;
pub use store::{Outcome, Store};
