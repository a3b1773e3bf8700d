//! The way to the server: a socket, or in tests whatever stands for one.
//!
//! With the feature `__wire` a test can be the network: it gets each connection as a stream of bytes, and decides when
//! which of them arrive.

use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisResult, aio::MultiplexedConnection};

use crate::config::Address;

/// Opens a connection to this server, one of those at the address.
#[cfg_attr(not(feature = "__wire"), allow(unused_variables, reason = "the address knows the test's network"))]
pub(crate) async fn open(
    address: &Address,
    server: &ConnectionInfo,
    config: AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    #[cfg(feature = "__wire")]
    if let Some(wire) = &address.wire {
        let stream = (wire.0)()?;
        let (connection, driver) =
            MultiplexedConnection::new_with_config(server.redis_settings(), stream, config).await?;
        tokio::spawn(driver);
        return Ok(connection);
    }
    Client::open(server.clone())?.get_multiplexed_async_connection_with_config(&config).await
}

#[cfg(feature = "__wire")]
pub use by_hand::{Stream, Wire};

#[cfg(feature = "__wire")]
mod by_hand {
    use std::{fmt, io, sync::Arc};

    use tokio::io::{AsyncRead, AsyncWrite};

    /// A connection as bytes in both directions.
    pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

    impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

    type Open = dyn Fn() -> io::Result<Box<dyn Stream>> + Send + Sync;

    /// A network in the hands of a test.
    #[derive(Clone)]
    pub struct Wire(pub(crate) Arc<Open>);

    impl Wire {
        /// A network on which `open` connects to the server.
        pub fn new(open: impl Fn() -> io::Result<Box<dyn Stream>> + Send + Sync + 'static) -> Self {
            Self(Arc::new(open))
        }
    }

    impl fmt::Debug for Wire {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Wire")
        }
    }
}
