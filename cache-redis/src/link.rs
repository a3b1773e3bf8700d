//! The connection over time: given up when it fails, opened again, and trusted only when nothing is left to replay.
//!
//! A new connection is joined in three steps: it fences and replays what was queued; then new invalidations go over it,
//! while what came in before that is replayed; then it becomes current, and reads and fills go over it too. Without the
//! step in the middle, invalidations that come in faster than they are replayed would keep the link down for ever.
//!
//! Invariants, all kept under the gate's lock:
//!
//! - While the journal holds anything there is no current session, so nothing is read or filled.
//! - An invalidation either goes over the session or is in the journal before a session can become current.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use cache_core::{
    Outcome,
    mutant::{self, Mutant},
    store::{Link as Status, StoreError},
};
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Notify, watch};

use crate::{
    config::{Address, RedisConfig},
    connection::{CallError, Session},
    error::ConnectError,
    invalidate,
    journal::{Item, Journal},
    name::Names,
    script::SCRIPTS,
};

/// Backoff between attempts. Its top keeps a server that is back from waiting for long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What decides whether Redis may be trusted.
struct Gate {
    journal: Journal,
    /// Takes invalidations: the current session, or one that is about to be.
    writer: Option<Arc<Session>>,
}

/// The connection over time.
pub(crate) struct Link {
    address: Address,
    names: Names,
    call_timeout: Duration,
    connect_timeout: Duration,
    strikes: u32,
    /// The current session.
    session: ArcSwapOption<Session>,
    gate: Mutex<Gate>,
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
            gate: Mutex::new(Gate { journal: Journal::new(config.journal_limit), writer: None }),
            status: watch::Sender::new(Status::Down { since: Instant::now(), journal: 0 }),
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
    pub(crate) async fn call(&self, session: &Arc<Session>, command: &Cmd) -> Result<Value, StoreError> {
        let result = session.send(command, self.call_timeout).await;
        result.map_err(|error| self.settle(session, error))
    }

    /// Sends several commands within the bound on calls.
    pub(crate) async fn call_all(&self, session: &Arc<Session>, commands: &Pipeline) -> Result<(), StoreError> {
        let result = session.send_all(commands, self.call_timeout).await;
        result.map(drop).map_err(|error| self.settle(session, error))
    }

    /// Invalidates. What Redis has not acknowledged is in the journal when this returns.
    pub(crate) async fn invalidate(&self, items: Vec<Item>) -> Outcome {
        let Some(session) = self.writer_or_journal(&items) else {
            return Outcome::Journaled;
        };
        let send = |commands: Pipeline| {
            let session = Arc::clone(&session);
            async move { session.send_all(&commands, self.call_timeout).await }
        };
        match invalidate::apply(&self.names, &items, send).await {
            Ok(()) => Outcome::Applied,
            Err(error) => {
                // Whether it took effect is not known, so it counts as not done, and nothing is trusted until it is.
                let mut gate = self.gate();
                gate.journal.add(items);
                self.drop_session(&session, &mut gate, &error);
                // Another session may have become current since this one failed.
                if let Some(current) = self.session.load_full() {
                    self.drop_session(&current, &mut gate, &error);
                }
                self.tell_journal(&gate.journal);
                Outcome::Journaled
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
                self.drop_session(session, &mut self.gate(), &"the server has changed its replication id");
                return Err(StoreError::Unavailable);
            }
            Err(error) => return Err(self.settle(session, error)),
        }
        let result = self.fence_within(session, self.call_timeout).await;
        result.map(drop).map_err(|error| self.settle(session, error))
    }

    /// Reconnects for as long as it is polled.
    pub(crate) async fn keep(&self) {
        loop {
            if let Some(session) = self.session.load_full() {
                tokio::select! {
                    () = session.closed() => self.drop_session(&session, &mut self.gate(), &"Redis closed the connection"),
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
        if self.fence_within(&session, self.connect_timeout).await.map_err(|error| self.unusable(error))? {
            tracing::warn!(
                at = self.at(),
                "Redis restarted or failed over: everything in the namespace counts as invalidated"
            );
        }
        // Also with nothing to replay: it shows that this server takes writes.
        let mut replayed = self.replay(&session).await.map_err(|error| self.unusable(error))?;
        self.gate().writer = Some(Arc::clone(&session));
        loop {
            replayed += self.replay(&session).await.map_err(|error| {
                self.drop_session(&session, &mut self.gate(), &error);
                self.unusable(error)
            })?;
            match self.make_current(&session) {
                None => {
                    return Err(ConnectError::unreachable(self.at(), "lost again while it was joined"));
                }
                Some(false) => {}
                Some(true) => {
                    tracing::info!(at = self.at(), replayed, "connected to Redis");
                    return Ok(());
                }
            }
        }
    }

    /// Tells why a server that answers cannot be joined.
    fn unusable(&self, error: CallError) -> ConnectError {
        let refused = |error| ConnectError::of_opening(self.at(), self.address.database, error);
        match error {
            CallError::Timeout { .. } => ConnectError::unreachable(self.at(), "no answer in time"),
            CallError::OutOfReach(error) => refused(error),
            CallError::Failed(source) => match source.downcast() {
                Ok(error) => refused(*error),
                Err(source) => ConnectError::unreachable(self.at(), source),
            },
        }
    }

    /// Sends what is in the journal, which keeps it unless Redis acknowledges. Returns how much that was.
    async fn replay(&self, session: &Arc<Session>) -> Result<usize, CallError> {
        if mutant::is(Mutant::NoJournalGate) {
            return Ok(0);
        }
        let items = self.gate().journal.take();
        let send = |commands: Pipeline| {
            let session = Arc::clone(session);
            async move { session.send_all(&commands, self.connect_timeout).await }
        };
        let result = invalidate::apply(&self.names, &items, send).await;
        let count = items.len();
        if result.is_err() {
            self.gate().journal.add(items);
        }
        result.map(|()| count)
    }

    /// Opens the gate, unless something is left to replay. `None`: an invalidation has failed over this session.
    fn make_current(&self, session: &Arc<Session>) -> Option<bool> {
        let gate = self.gate();
        gate.writer.as_ref().filter(|writer| Arc::ptr_eq(writer, session))?;
        if gate.journal.is_empty() || mutant::is(Mutant::NoJournalGate) {
            self.session.store(Some(Arc::clone(session)));
            self.status.send_replace(Status::Up);
        }
        Some(gate.journal.is_empty() || mutant::is(Mutant::NoJournalGate))
    }

    async fn fence_within(&self, session: &Session, bound: Duration) -> Result<bool, CallError> {
        let mut command = SCRIPTS.fence.call(1, 64);
        self.names.write_root(&mut command);
        command.arg(session.incarnation());
        let reply = session.send(&command, bound).await?;
        Ok(reply == Value::Int(1))
    }

    /// The session to invalidate over, or none, with the items in the journal. Both under one lock: a session that
    /// becomes current has seen what was journaled before.
    fn writer_or_journal(&self, items: &[Item]) -> Option<Arc<Session>> {
        let mut gate = self.gate();
        if gate.writer.is_none() {
            gate.journal.add(items.iter().cloned());
            self.tell_journal(&gate.journal);
        }
        gate.writer.clone()
    }

    /// Turns a failed call into the caller's error, and gives the session up if it is of no more use.
    fn settle(&self, session: &Arc<Session>, error: CallError) -> StoreError {
        match error {
            CallError::Failed(error) => StoreError::Failed(error),
            CallError::Timeout { strikes } if strikes < self.strikes => StoreError::Timeout,
            CallError::Timeout { .. } => {
                self.drop_session(session, &mut self.gate(), &error);
                StoreError::Timeout
            }
            CallError::OutOfReach(_) => {
                self.drop_session(session, &mut self.gate(), &error);
                StoreError::Unavailable
            }
        }
    }

    /// Gives the session up, if it is in use.
    fn drop_session(&self, session: &Arc<Session>, gate: &mut Gate, why: &dyn std::fmt::Display) {
        if !gate.writer.as_ref().is_some_and(|writer| Arc::ptr_eq(writer, session)) {
            return;
        }
        gate.writer = None;
        if self.session.swap(None).is_some() {
            self.status.send_replace(Status::Down { since: Instant::now(), journal: gate.journal.len() });
            self.lost.notify_one();
            tracing::warn!(at = self.at(), %why, "lost Redis");
        }
    }

    fn tell_journal(&self, journal: &Journal) {
        self.status.send_if_modified(|status| match status {
            Status::Down { journal: told, .. } if *told != journal.len() => {
                if *told == 0 {
                    tracing::warn!(at = self.at(), "invalidations are queued until Redis is back");
                }
                *told = journal.len();
                true
            }
            _ => false,
        });
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
