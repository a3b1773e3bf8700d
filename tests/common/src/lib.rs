//! What the tests need around them: [a real Redis](RedisServer), several that [fail over](SentinelGroup) or
//! [share the keys](ClusterServers), [a network that can fail](Proxy), and a real browser.
//!
//! Everything here blocks and owns its own threads, so that it works in any kind of test. Failures are panics.

#[cfg(feature = "browser")]
pub mod browser;
mod cli;
mod cluster;
mod process;
mod proxy;
mod redis;
mod sentinel;
mod wait;

pub use cli::{Connection, cli, strings, try_cli};
pub use cluster::{ClusterOptions, ClusterServers, Migration, Promotion};
pub use process::wait_until_stopped;
pub use proxy::Proxy;
pub use redis::{Options, RedisServer, shared_url, unique};
pub use sentinel::{SentinelGroup, SentinelOptions};
