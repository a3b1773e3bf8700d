//! What the tests need around them: [a real Redis](RedisServer) and [a network that can fail](Proxy).
//!
//! Everything here blocks and owns its own threads, so that it works in any kind of test. Failures are panics.

mod proxy;
mod redis;

pub use proxy::Proxy;
pub use redis::{Options, RedisServer, cli, shared_url, unique};
