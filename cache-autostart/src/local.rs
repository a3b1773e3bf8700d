//! The server on this machine: who keeps it, and where it is.

use std::time::Duration;

use cache_core::start::LocalServer;

use crate::{
    directory::Directory,
    error::LocalError,
    program::Program,
    server::{answers, is_ready, wait_until},
    supervisor::Supervisor,
};

/// How long a cache waits for its server. After that it starts degraded.
const STARTING: Duration = Duration::from_secs(10);

/// The server on this machine.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) url: String,
    /// None where no server is installed that this instance could start.
    pub(crate) supervisor: Option<Supervisor>,
}

/// Starts the server, or joins those who share it. `None` where there is none and none is installed. Blocks.
pub(crate) fn start(settings: &LocalServer) -> Result<Option<Local>, LocalError> {
    let directory = Directory::open(settings.directory_path())?;
    let (url, socket) = (directory.url(), directory.socket());
    let Some(program) = Program::find() else {
        // An instance that does not share it would not hear of the others' invalidations.
        if answers(&socket) {
            return Ok(Some(Local { url, supervisor: None }));
        }
        tracing::warn!(
            "neither redis-server nor valkey-server is on the PATH: the cache is this process's memory; install one \
             (apt-get install redis-server, dnf install valkey, apk add valkey, brew install redis), or set STALEPROOF_URL"
        );
        return Ok(None);
    };
    let supervisor = Supervisor::start(directory, program, settings)?;
    wait_until(STARTING, || supervisor.is_settled() && is_ready(&socket));
    Ok(Some(Local { url, supervisor: Some(supervisor) }))
}
