//! Annotation caching for async Rust whose invalidations hold.
//!
//! A method that reads is `#[cached]`; a method that writes names, as code, what it invalidates. Once an invalidation has
//! returned, no instance of the service serves or stores a value that was loaded before it.
//!
//! ```
//! use staleproof::{Cache, cached, invalidates};
//! # use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
//!
//! #[derive(Clone)]
//! struct Prices {
//!     database: Arc<AtomicU32>,
//!     cache: Cache,
//! }
//!
//! impl Prices {
//!     #[cached(ttl = "15m", key_prefix = "price")]
//!     async fn price(&self, article: u32) -> u32 {
//!         self.database.load(Ordering::SeqCst)
//!     }
//!
//!     #[invalidates(Self::price(article))]
//!     async fn set_price(&self, article: u32, cents: u32) {
//!         self.database.store(cents, Ordering::SeqCst);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let prices = Prices { database: Arc::new(AtomicU32::new(199)), cache: Cache::memory() };
//! assert_eq!(prices.price(7).await, 199);
//! prices.set_price(7, 249).await;
//! assert_eq!(prices.price(7).await, 249);
//! # }
//! ```
//!
//! # Where to go on
//!
//! - [`macro@cached`]: every option. [`macro@invalidates`]: every target. [`cached_impl`]: methods of traits.
//! - [`Cache`]: in memory, over Redis, from the environment; [`CacheBuilder`]: every setting. [`Start`]: with a Redis that starts by itself.
//! - [`KeyPart`](trait@KeyPart): what can be an argument, and how keys look.
//! - [`codec`]: how values are stored, and why a change of their type needs no bump by hand.
//! - [`Store`]: a backend of your own, with the suite it must pass (feature `conformance`).
//!
//! # What happens when
//!
//! Trouble with Redis never reaches a caller of a cached method: no error, no panic, no hang. While Redis is out of reach, memory
//! carries the service ([`Degraded`]); invalidations are [journaled](Outcome::Journaled) and replayed before Redis is trusted again. A
//! loader's own error passes through untouched and is never stored.
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `redis` (default) | the Redis store; `tls` for `rediss://` |
//! | `autostart` | [`Start::Auto`]: a local Redis where none answers, for development and services on one machine; Unix only, memory elsewhere |
//! | `auto` (default) | the codec [`Auto`]; also `postcard`, `message-pack`, `json`, `bincode` alone |
//! | `zstd`, `lz4` | compression of large values |
//! | `uuid`, `chrono`, `jiff`, `time` | `KeyPart` for their types |
//! | `kit` | what a service keeps beside its cache: states, one-time codes, limits, locks, topics, jobs, places |
//! | `kit-axum` | topics as server-sent events and over WebSocket, for axum |
//! | `metrics` | what a cache does, published through the `metrics` crate; [OPERATIONS.md](https://github.com/staleproof/staleproof/blob/main/docs/OPERATIONS.md) has the names |
//! | `conformance` | the suite that every store passes |
//!
//! # Requirements
//!
//! Tokio, and Rust 1.88 or later. Raising the minimum is a minor release.

#[cfg(feature = "auto")]
pub use cache_core::codec::Auto;
#[cfg(feature = "bincode")]
pub use cache_core::codec::Bincode;
#[cfg(feature = "json")]
pub use cache_core::codec::Json;
#[cfg(feature = "message-pack")]
pub use cache_core::codec::MessagePack;
#[cfg(feature = "postcard")]
pub use cache_core::codec::Postcard;
#[cfg(feature = "conformance")]
pub use cache_core::conformance;
pub use cache_core::{
    BuildError, Cache, CacheBuilder, CallResult, Clock, Codec, Degraded, Diagnosis, Event, Events, FunctionStats,
    Health, Hold, Key, KeyPart, L1, ManualClock, MemoryStore, Outcome, Policy, Requests, Start, Stats, Store, Tag,
    Target, Unavailable, Warmed, Warmup, clock, codec, connect, doctor, inspect, key, map, memory, policy, registry,
    start, store, transaction,
};
// It is enough that it is there: the builder finds it.
#[cfg(feature = "autostart")]
use cache_autostart as _;
pub use cache_macros::{KeyPart, cached, cached_impl, invalidates, keys};
/// The Redis store, for settings that [`CacheBuilder`] does not have.
#[cfg(feature = "redis")]
pub use cache_redis as redis;

/// What a service keeps in Redis beside its cache: states, codes, limits, locks, topics, jobs, places.
#[cfg(feature = "kit")]
pub use cache_kit as kit;

/// What generated code names. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use cache_core::call::*;
}
