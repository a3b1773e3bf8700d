//! Starts a local Redis for a cache, and keeps it running: what [`Start::Auto`](cache_core::Start::Auto) does.
//!
//! Linked into the program, it is found by [`cache_core::connect`]. The server at the configured URL comes first. If
//! there is none, a `redis-server` or `valkey-server` of the `PATH` is started, as a child of this process:
//!
//! - It listens on a Unix socket in a directory that only this user may enter, and on no port. It evicts what
//!   was used least recently when its memory is full, and writes nothing to the disk but its log; with [`LocalServer::persist`] an
//!   append-only file, too. That is for other data: entries of a server that was started anew count as invalidated.
//! - Instances with the same directory share it. The one that holds the lock there owns it; the others look for
//!   the lock twice a second, and the first to get it stops what is left of the former owner's server, and starts its own.
//! - A server that ends, or does not answer for ten seconds, is started again after a pause that doubles each time, from
//!   0.1 s to 10 s, less up to half of it at random; so many times within so long ([`LocalServer::restarts`]).
//!   Meanwhile the cache is degraded, as in any outage.
//! - It is stopped when the cache is dropped, which blocks for a few milliseconds, and when the process ends in
//!   any other way: on Linux the kernel tells it to end (by `setpriv` of util-linux, where that is installed). Should it
//!   go on all the same, the next owner stops it: over its socket, and on Linux by a signal, once its
//!   user, its directory and its arguments have shown that it is that server.
//!
//! Where no server is installed, and on systems other than Unix, the cache is this process's memory; one warning says so.
//!
//! [`LocalServer::persist`]: cache_core::start::LocalServer::persist
//! [`LocalServer::restarts`]: cache_core::start::LocalServer::restarts

#[cfg(unix)]
mod backoff;
#[cfg(unix)]
mod directory;
#[cfg(unix)]
mod error;
#[cfg(unix)]
mod leftover;
#[cfg(unix)]
mod local;
#[cfg(unix)]
mod program;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod supervisor;

use cache_core::{
    BuildError,
    connect::{self, ConnectSpec, StartSpec, Started, Starter, Starting},
    start::LocalServer,
};
use cache_redis::ConnectError;

cache_core::connect::inventory::submit! {
    Starter { start }
}

fn start(spec: StartSpec) -> Starting {
    Box::pin(async move {
        match find(&spec.configured).await? {
            Some(found) => Ok(Some(found)),
            None => start_local(spec.configured, spec.server).await,
        }
    })
}

/// The server that is configured, if it answers.
async fn find(configured: &ConnectSpec) -> Result<Option<Started>, BuildError> {
    if configured.url.is_empty() {
        return Ok(None);
    }
    let mut required = configured.clone();
    required.require = true;
    match connect::open(required).await {
        Ok(store) => Ok(Some(Started::new(store, None))),
        Err(BuildError::Store(error)) if is_unreachable(&*error) => {
            tracing::warn!(%error, "the configured Redis does not answer: looking for a local one");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_unreachable(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ConnectError::Unreachable { .. }))
}

#[cfg(unix)]
async fn start_local(mut spec: ConnectSpec, server: LocalServer) -> Result<Option<Started>, BuildError> {
    // It waits for the server, and for the disk.
    let starting = tokio::task::spawn_blocking(move || local::start(&server));
    let local = starting.await.map_err(|error| BuildError::Store(error.into()))?;
    let Some(local) = local.map_err(|error| BuildError::Store(error.into()))? else { return Ok(None) };
    spec.url = local.url;
    // What is in there is for the configured server.
    spec.journal_file = None;
    let store = connect::open(spec).await?;
    Ok(Some(Started::new(store, local.supervisor.map(|supervisor| Box::new(supervisor) as _))))
}

#[cfg(not(unix))]
#[allow(clippy::unused_async, reason = "there is something to wait for where servers can be started")]
async fn start_local(_: ConnectSpec, _: LocalServer) -> Result<Option<Started>, BuildError> {
    tracing::warn!(
        "no Redis is started on this system: the cache is this process's memory; set STALEPROOF_URL for a Redis elsewhere"
    );
    Ok(None)
}
