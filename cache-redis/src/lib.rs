//! The Redis store of staleproof: [`RedisStore`].
//!
//! It speaks to Redis 6.2 or later and to Valkey, over TCP, TLS (feature `tls`) or a Unix socket: to a single
//! server, to the primary that sentinels name, or to a cluster. The rules that make
//! invalidations hold are those of [`cache_core::store`]; here they are Lua scripts over keys that can be read in
//! `redis-cli`, and deleting any of these keys is a correct invalidation. An instance that keeps values in its own memory
//! hears of invalidations by [`feed`](cache_core::Store::feed), and not of what is deleted by hand: deleting `#members`,
//! where these instances are noted, empties them in a quarter of a second.

mod call_error;
mod config;
mod connection;
mod connector;
mod doctor;
mod entry;
mod error;
mod feed;
mod inspect;
mod invalidate;
mod journal;
mod kind;
mod link;
mod name;
mod partition;
mod reads;
mod ring;
mod script;
mod sentinel;
mod session;
pub mod side;
mod store;
mod trace;
mod traffic;
mod wire;
mod writes;

pub use config::{OnFailover, RedisConfig};
pub use error::ConnectError;
pub use store::RedisStore;
#[cfg(feature = "__wire")]
#[doc(hidden)]
pub use wire::{Stream, Wire};
