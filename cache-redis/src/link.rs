//! The connection over time: given up when it fails, opened again, and trusted only when nothing is left to replay.
//!
//! Invariants, all kept under the journal's lock:
//!
//! - While the journal holds anything there is no session, so nothing is read or filled (the gate).
//! - A session becomes current only when the journal is empty, so an invalidation either finds the session and sends
//!   to it, or is in the journal before the next session can become current.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use cache_core::{
    Target,
    store::{Link as Status, StoreError},
};
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Notify, watch};

use crate::{
    config::{Address, RedisConfig},
    connection::{CallError, Session},
    error::ConnectError,
    invalidate,
    journal::Journal,
    name::Names,
    script::SCRIPTS,
};

/// Backoff between attempts. Its top keeps a server that is back from waiting for long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The connection over time.
pub(crate) struct Link {
    address: Address,
    names: Names,
    call_timeout: Duration,
    connect_timeout: Duration,
    strikes: u32,
    session: ArcSwapOption<Session>,
    journal: Mutex<Journal>,
    status: watch::Sender<Status>,
    lost: Notify,
}

impl Link {
    pub(crate) fn new(config: &RedisConfig, address: Address, names: Names) -> Self {
        Self {
            address,
            names,
            call_timeout: config.call_timeout,
            connect_timeout: config.connect_timeout,
            strikes: config.timeouts_in_a_row,
            session: ArcSwapOption::empty(),
            journal: Mutex::new(Journal::new(config.journal_limit)),
            status: watch::Sender::new(Status::Down {
                since: Instant::now(),
                journal: 0,
            }),
            lost: Notify::new(),
        }
    }

    /// Where Redis is, for logs.
    pub(crate) fn at(&self) -> &str {
        &self.address.at
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// The connection to use now.
    pub(crate) fn session(&self) -> Result<Arc<Session>, StoreError> {
        self.session.load_full().ok_or(StoreError::Unavailable)
    }

    /// Sends one command within the bound on calls.
    pub(crate) async fn call(
        &self,
        session: &Arc<Session>,
        command: &Cmd,
    ) -> Result<Value, StoreError> {
        let result = session.send(command, self.call_timeout).await;
        result.map_err(|error| self.settle(session, error))
    }

    /// Invalidates. What Redis has not acknowledged is in the journal when this returns `false`.
    pub(crate) async fn invalidate(&self, targets: &[Target]) -> bool {
        let Some(session) = self.session_or_journal(targets) else {
            return false;
        };
        let send = |commands: Pipeline| {
            let session = Arc::clone(&session);
            async move { session.send_all(&commands, self.call_timeout).await }
        };
        match invalidate::apply(&self.names, targets, send).await {
            Ok(()) => true,
            Err(error) => {
                // Whether it took effect is not known, so it counts as not done, and nothing is trusted until it is.
                let mut journal = self.journal();
                journal.add(targets.iter().cloned());
                self.drop_session(&session, &journal, &error);
                // Another session may have become current since this one failed.
                if let Some(current) = self.session.load_full() {
                    self.drop_session(&current, &journal, &error);
                }
                self.tell_journal(&journal);
                false
            }
        }
    }

    /// Fences if the root is of another incarnation than the session's.
    pub(crate) async fn fence(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        // A server that was demoted and promoted again while the connection lived: its answers are compared with the
        // wrong incarnation, and a fence by it would undo that of the others.
        match session.is_same_incarnation(self.call_timeout).await {
            Ok(true) => {}
            Ok(false) => {
                self.drop_session(
                    session,
                    &self.journal(),
                    &"the server has changed its replication id",
                );
                return Err(StoreError::Unavailable);
            }
            Err(error) => return Err(self.settle(session, error)),
        }
        let result = self.fence_within(session, self.call_timeout).await;
        result
            .map(drop)
            .map_err(|error| self.settle(session, error))
    }

    /// Reconnects for as long as it is polled.
    pub(crate) async fn keep(&self) {
        loop {
            if let Some(session) = self.session.load_full() {
                tokio::select! {
                    () = session.closed() => self.drop_session(&session, &self.journal(), &"Redis closed the connection"),
                    () = self.lost.notified() => {}
                }
            }
            if self.session.load().is_none() {
                self.reconnect().await;
            }
        }
    }

    async fn reconnect(&self) {
        let mut pause = FIRST_PAUSE;
        let mut told = None;
        loop {
            let Err(error) = self.join().await else {
                return;
            };
            let reason = error.to_string();
            // Once per change: an outage must not fill the log.
            if error.is_temporary() || told.as_ref() == Some(&reason) {
                tracing::debug!(at = self.at(), %error, "Redis is still out of reach");
            } else {
                tracing::warn!(at = self.at(), %error, "Redis refuses this client");
                told = Some(reason);
            }
            tokio::time::sleep(pause.mul_f64(fastrand::f64().mul_add(0.5, 0.5))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Opens a connection, fences, replays, and makes it current.
    pub(crate) async fn join(&self) -> Result<(), ConnectError> {
        let session = Arc::new(Session::open(&self.address, self.connect_timeout).await?);
        let unusable = |error| match error {
            CallError::Timeout { .. } => ConnectError::unreachable(self.at(), "no answer in time"),
            CallError::OutOfReach(error) => {
                ConnectError::of_opening(self.at(), self.address.database, error)
            }
            CallError::Failed(source) => match source.downcast() {
                Ok(error) => ConnectError::of_opening(self.at(), self.address.database, *error),
                Err(source) => ConnectError::unreachable(self.at(), source),
            },
        };
        if self
            .fence_within(&session, self.connect_timeout)
            .await
            .map_err(unusable)?
        {
            tracing::warn!(
                at = self.at(),
                "Redis restarted or failed over: everything in the namespace counts as invalidated"
            );
        }
        // Also with nothing to replay: it shows that this server takes writes.
        let mut replayed = 0;
        loop {
            let targets = self.journal().take();
            if let Err(error) = self.replay(&session, &targets).await {
                self.journal().add(targets);
                return Err(unusable(error));
            }
            replayed += targets.len();
            if self.make_current(&session) {
                tracing::info!(at = self.at(), replayed, "connected to Redis");
                return Ok(());
            }
        }
    }

    async fn replay(&self, session: &Arc<Session>, targets: &[Target]) -> Result<(), CallError> {
        let send = |commands: Pipeline| {
            let session = Arc::clone(session);
            async move { session.send_all(&commands, self.connect_timeout).await }
        };
        invalidate::apply(&self.names, targets, send).await
    }

    /// Opens the gate, unless an invalidation has come in since the journal was taken.
    fn make_current(&self, session: &Arc<Session>) -> bool {
        let journal = self.journal();
        if journal.is_empty() {
            self.session.store(Some(Arc::clone(session)));
            self.status.send_replace(Status::Up);
        }
        journal.is_empty()
    }

    async fn fence_within(&self, session: &Session, bound: Duration) -> Result<bool, CallError> {
        let mut command = SCRIPTS.fence.call(1, 64);
        self.names.write_root(&mut command);
        command.arg(session.incarnation());
        let reply = session.send(&command, bound).await?;
        Ok(reply == Value::Int(1))
    }

    /// The session to invalidate over, or none, with the targets in the journal. Both under one lock: a session that
    /// becomes current has seen what was journaled before.
    fn session_or_journal(&self, targets: &[Target]) -> Option<Arc<Session>> {
        let mut journal = self.journal();
        let session = self.session.load_full();
        if session.is_none() {
            journal.add(targets.iter().cloned());
            self.tell_journal(&journal);
        }
        session
    }

    /// Turns a failed call into the caller's error, and gives the session up if it is of no more use.
    fn settle(&self, session: &Arc<Session>, error: CallError) -> StoreError {
        match error {
            CallError::Failed(error) => StoreError::Failed(error),
            CallError::Timeout { strikes } if strikes < self.strikes => StoreError::Timeout,
            CallError::Timeout { .. } => {
                self.drop_session(session, &self.journal(), &error);
                StoreError::Timeout
            }
            CallError::OutOfReach(_) => {
                self.drop_session(session, &self.journal(), &error);
                StoreError::Unavailable
            }
        }
    }

    /// Gives the session up, if it is the current one.
    fn drop_session(&self, session: &Arc<Session>, journal: &Journal, why: &dyn std::fmt::Display) {
        if !self
            .session
            .load()
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, session))
        {
            return;
        }
        self.session.store(None);
        self.status.send_replace(Status::Down {
            since: Instant::now(),
            journal: journal.len(),
        });
        self.lost.notify_one();
        tracing::warn!(at = self.at(), %why, "lost Redis");
    }

    fn tell_journal(&self, journal: &Journal) {
        self.status.send_if_modified(|status| match status {
            Status::Down { journal: told, .. } if *told != journal.len() => {
                if *told == 0 {
                    tracing::warn!(
                        at = self.at(),
                        "invalidations are queued until Redis is back"
                    );
                }
                *told = journal.len();
                true
            }
            _ => false,
        });
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
