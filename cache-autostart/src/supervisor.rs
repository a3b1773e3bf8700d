//! The thread that owns the server, or waits to own it.
//!
//! All is done on one thread, which lives as long as the cache: the kernel ends the server with the thread that started it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use cache_core::start::LocalServer;

use crate::{
    backoff::{Backoff, Next},
    directory::{Directory, Lock},
    error::LocalError,
    leftover,
    program::Program,
    server::Server,
};

/// How often an instance looks whether it can become the owner.
const LOOK: Duration = Duration::from_millis(500);

/// How often the owner looks whether the server has ended.
const GLANCE: Duration = Duration::from_millis(200);

/// How often the owner asks the server.
const CHECK: Duration = Duration::from_secs(1);

/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Runs until it is dropped, which stops the server if it is this instance's.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// The thread ends when this is gone.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    is_settled: Arc<AtomicBool>,
}

impl Supervisor {
    pub(crate) fn start(directory: Directory, program: Program, settings: &LocalServer) -> Result<Self, LocalError> {
        let (stop, stopped) = sync_channel(0);
        let (settings, bounds) = (settings.clone(), settings.restart_bounds());
        let is_settled = Arc::new(AtomicBool::new(false));
        let keeper = Keeper { directory, program, settings, bounds, stopped, is_settled: Arc::clone(&is_settled) };
        let thread = thread::Builder::new().name("staleproof-server".to_owned());
        let thread = thread.spawn(move || keeper.run()).map_err(LocalError::Thread)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), is_settled })
    }

    /// Whether it is known who owns the server, and what was left of a former one is gone.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Keeper {
    directory: Directory,
    program: Program,
    settings: LocalServer,
    bounds: (u32, Duration),
    stopped: Receiver<()>,
    is_settled: Arc<AtomicBool>,
}

/// Why the server is not kept any more.
enum End {
    Stopped,
    /// The lock's file was cleared away: others cannot see that the server is owned.
    Displaced,
    /// It ended, or hangs.
    Lost,
}

impl Keeper {
    fn run(self) {
        let mut is_told = false;
        loop {
            match self.directory.try_lock() {
                Ok(Some(lock)) => {
                    is_told = false;
                    if matches!(self.own(lock), End::Stopped) {
                        return;
                    }
                }
                Ok(None) => {
                    is_told = false;
                    self.is_settled.store(true, Ordering::Release);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::error!(%error, "the local server cannot be kept");
                    }
                }
            }
            if self.is_stopped_within(LOOK) {
                return;
            }
        }
    }

    /// Whether it is stopped by then.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        !matches!(self.stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
    }

    fn own(&self, mut lock: Lock) -> End {
        leftover::stop(&self.directory, &mut lock);
        self.is_settled.store(true, Ordering::Release);
        let mut backoff = Backoff::new(self.bounds);
        loop {
            if let end @ (End::Stopped | End::Displaced) = self.serve(&mut lock) {
                return end;
            }
            if let End::Stopped = self.rest(&mut backoff) {
                return End::Stopped;
            }
        }
    }

    /// Starts the server and watches it.
    fn serve(&self, lock: &mut Lock) -> End {
        if !lock.is_in_place() {
            return End::Displaced;
        }
        let started = Server::start(&self.program, &self.directory, &self.settings);
        let mut server = match started {
            Ok(server) => server,
            Err(error) => {
                tracing::warn!(server = %self.program.server().display(), %error, "the local server cannot be started");
                return End::Lost;
            }
        };
        if let Err(error) = lock.note(Some(server.pid())) {
            tracing::warn!(%error, "the local server's process cannot be noted: it may run on if this process is killed");
        }
        tracing::info!(
            server = %self.program.server().display(), pid = server.pid(), at = %self.directory.path().display(),
            "started a local server"
        );
        let end = self.watch(&mut server, lock);
        drop(server);
        // A process that was not waited for keeps its id; from here on the id may be another's.
        drop(lock.note(None));
        end
    }

    fn watch(&self, server: &mut Server, lock: &Lock) -> End {
        let (mut heard, mut check) = (Instant::now(), Instant::now());
        while !self.is_stopped_within(GLANCE) {
            if let Some(status) = server.ended() {
                tracing::warn!(status, log = %self.directory.log_path().display(), "the local server has ended");
                return End::Lost;
            }
            if Instant::now() < check {
                continue;
            }
            if !lock.is_in_place() {
                tracing::warn!(at = %self.directory.path().display(), "the local server's directory was cleared away");
                return End::Displaced;
            }
            check = Instant::now() + CHECK;
            if server.answers() {
                heard = Instant::now();
            } else if heard.elapsed() > SILENCE {
                tracing::warn!(silence = ?SILENCE, "the local server does not answer");
                return End::Lost;
            }
        }
        End::Stopped
    }

    /// Waits until the server may be started again.
    fn rest(&self, backoff: &mut Backoff) -> End {
        loop {
            match backoff.next(Instant::now()) {
                Next::After(pause) if self.is_stopped_within(pause) => return End::Stopped,
                Next::After(_) => return End::Lost,
                Next::Later(pause) => {
                    let (times, within) = self.bounds;
                    tracing::error!(times, ?within, wait = ?pause, "the local server was started too often: it is left alone");
                    if self.is_stopped_within(pause) {
                        return End::Stopped;
                    }
                }
            }
        }
    }
}
