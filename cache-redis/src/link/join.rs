//! Joining a server, and noticing that it is no longer to be used.
//!
//! A new connection is joined in four steps. Where the data are those of another incarnation, what was acknowledged
//! lately is said again, and then they are fenced or adopted. What was queued is replayed. Then new invalidations go
//! over the connection, while what came in before that is replayed; then it becomes current, and reads and fills go over
//! it too. Without the step before the last, invalidations that come in faster than they are replayed would keep the link
//! down for ever.
//!
//! A current connection proves twice a second that it still takes writes and is of the same incarnation: a primary that
//! was demoted or isolated goes on to answer reads.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cache_core::{
    mutant::{self, Mutant},
    store::Link as Status,
};
use redis::Value;
use tokio::time::Instant;

use super::{BEAT, CHANGED, Last, Link, jittered};
use crate::{
    call_error::CallError,
    config::OnFailover,
    connection::Connection,
    error::ConnectError,
    invalidate::Over,
    journal::Item,
    partition::Partition,
    script::SCRIPTS,
    session::{Answer, Session},
};

/// Backoff between attempts. Its top keeps a server that is back from waiting for long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long a server is left alone that was joined and soon lost, several times in a row: a call that runs into it costs
/// its caller a timeout.
const LONGEST_QUARREL: Duration = Duration::from_secs(1);

impl Link {
    /// Reconnects for as long as it is polled.
    pub(crate) async fn keep(&self) {
        loop {
            if let Some(session) = self.session.load_full() {
                tokio::select! {
                    // In this order, so that the same events take the same course twice.
                    biased;
                    () = session.closed() => self.drop_session(&session, &mut self.gate(), &"Redis closed the connection"),
                    () = self.lost.notified() => {}
                    () = self.beat(&session) => {}
                    () = self.watch(&session) => {}
                    // Never ends by itself.
                    () = self.take_part(&session) => {}
                }
            }
            if self.session.load().is_none() {
                self.reconnect().await;
            }
        }
    }

    /// Goes on while the session is good.
    async fn beat(&self, session: &Arc<Session>) {
        let mut pause = BEAT;
        loop {
            let sleeping = tokio::time::sleep(pause.mul_f64(fastrand::f64().mul_add(0.2, 0.8)));
            if pause == BEAT {
                // Over by then: a beat is never late for it.
                tokio::join!(sleeping, session.tend_large(&self.address, self.call_timeout.min(BEAT / 2), BEAT / 2));
            } else {
                sleeping.await;
            }
            match session.prove(&self.names, self.call_timeout).await {
                Ok(true) => {
                    self.gate().last = Some(Last::of(session));
                    self.look_for_members(session).await;
                    pause = BEAT;
                }
                Ok(false) => return self.drop_session(session, &mut self.gate(), &CHANGED),
                // Once more at once, to know.
                Err(CallError::Timeout { strikes }) if strikes < self.patience(session) => pause = Duration::ZERO,
                Err(error) => return self.drop_session(session, &mut self.gate(), &error),
            }
        }
    }

    async fn reconnect(&self) {
        let flaps = self.flaps.load(Ordering::Relaxed);
        if flaps > 1 {
            tokio::time::sleep(jittered((FIRST_PAUSE * (1 << flaps.min(8))).min(LONGEST_QUARREL))).await;
        }
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
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Opens a connection, settles what its data are worth, replays, and makes it current.
    pub(crate) async fn join(&self) -> Result<(), ConnectError> {
        let session = Arc::new(self.open().await?);
        self.settle_incarnation(&session).await.map_err(|error| self.unusable(error))?;
        // Also with nothing to replay: it shows that this server takes writes.
        let mut replayed = self.replay(&session).await.map_err(|error| self.unusable(error))?;
        // A server that is too slow for calls would cost each of them a timeout.
        if !session.prove(&self.names, self.call_timeout).await.map_err(|error| self.unusable(error))? {
            return Err(ConnectError::unreachable(self.at(), CHANGED));
        }
        self.look_for_members(&session).await;
        self.gate().writer = Some(Arc::clone(&session));
        loop {
            replayed += self.replay(&session).await.map_err(|error| {
                self.drop_session(&session, &mut self.gate(), &error);
                self.unusable(error)
            })?;
            let away = self.away();
            match self.make_current(&session) {
                None => {
                    return Err(ConnectError::unreachable(self.at(), "lost again while it was joined"));
                }
                Some(false) => {}
                Some(true) => {
                    tracing::info!(at = session.at(), replayed, ?away, "connected to Redis");
                    self.clear_file().await;
                    return Ok(());
                }
            }
        }
    }

    /// Says again what a server of another incarnation may have missed, then fences or adopts what each has.
    async fn settle_incarnation(&self, session: &Arc<Session>) -> Result<(), CallError> {
        let last = self.gate().last.clone();
        let changed = last.as_ref().filter(|last| !session.is_of(&last.incarnations));
        if changed.is_some() {
            let items = self.gate().ring.items();
            self.say_again(session, &items).await?;
        }
        // A server that was started anew may have read an old file.
        let is_trusted = |connection: &Connection| {
            let trusts = self.address.on_failover == OnFailover::Trust;
            changed.is_some_and(|last| trusts && connection.was_up_at(last.alive))
        };
        let places: Vec<Partition> = self.names.partitions().collect();
        let settle = |number: usize, connection: &Connection| {
            let script = if is_trusted(connection) { &SCRIPTS.adopt } else { &SCRIPTS.fence };
            let mut command = script.call(1, 64);
            self.names.write_root(&mut command, places[number]);
            command.arg(connection.incarnation());
            command
        };
        // A partition that is on the move is cold when it has arrived.
        let answers = session.send_each(&places, self.connect_timeout, settle).await?;
        let settled = |trusted| {
            let answers = answers.iter();
            answers
                .filter(|answer| matches!(answer, Answer::From(by, Value::Int(1)) if is_trusted(by) == trusted))
                .count()
        };
        let (adopted, fenced, of) = (settled(true), settled(false), places.len());
        if adopted > 0 {
            tracing::warn!(at = self.at(), adopted, of, "Redis failed over: what the new server has is trusted");
        }
        self.address.counts.fences.add(fenced);
        if fenced > 0 {
            self.tell_fenced(fenced);
        }
        let is_new_reign = self.note_reign(session, last).await?;
        if fenced > 0 || is_new_reign {
            self.announce_everything(session, self.connect_timeout).await?;
        }
        Ok(())
    }

    /// Invalidates what was invalidated before. Members are told and not waited for: nobody was promised that it is in
    /// force at once, and it is in a lease's time.
    async fn say_again(&self, session: &Session, items: &[Item]) -> Result<(), CallError> {
        let targets: Vec<_> = items.iter().map(|item| item.target.clone()).collect();
        let announcing = self.feed.announcing(targets.iter());
        self.patiently_over(session).invalidate(items, &announcing).await.map(drop)
    }

    /// Tells why a server that answers cannot be joined.
    fn unusable(&self, error: CallError) -> ConnectError {
        let refused = |error| ConnectError::of_opening(self.at(), self.address.database, error);
        match error {
            CallError::Timeout { .. } => ConnectError::unreachable(self.at(), "no answer in time"),
            CallError::OutOfReach(error) => refused(error),
            CallError::Deposed(_) | CallError::Moved(_) | CallError::OnTheMove(_) => {
                ConnectError::unreachable(self.at(), error.to_string())
            }
            CallError::Failed(source) => match source.downcast() {
                Ok(error) => refused(*error),
                Err(source) => ConnectError::unreachable(self.at(), source),
            },
        }
    }

    /// Sends what is in the journal, which keeps it unless Redis acknowledges. Returns how much that was.
    pub(super) async fn replay(&self, session: &Arc<Session>) -> Result<usize, CallError> {
        if mutant::is(Mutant::NoJournalGate) {
            return Ok(0);
        }
        let mut replay = Replay { link: self, items: self.gate().journal.take() };
        self.say_again(session, &replay.items).await?;
        // Also with nothing to replay: finding and opening the server may have taken long.
        self.vouch(session).await?;
        let items = std::mem::take(&mut replay.items);
        self.gate().ring.add(&items, Instant::now());
        self.address.counts.replayed.add(items.len());
        Ok(items.len())
    }

    /// With the time that it takes to connect, not that of a call.
    fn patiently_over<'a>(&'a self, session: &'a Session) -> Over<'a> {
        Over { bound: self.connect_timeout, ..self.over(session) }
    }

    /// Opens the gate, unless something is left to replay. `None`: an invalidation has failed over this session.
    pub(super) fn make_current(&self, session: &Arc<Session>) -> Option<bool> {
        let mut gate = self.gate();
        gate.writer.as_ref().filter(|writer| Arc::ptr_eq(writer, session))?;
        let is_open = gate.journal.is_empty() || mutant::is(Mutant::NoJournalGate);
        if is_open {
            gate.last = Some(Last::of(session));
            self.session.store(Some(Arc::clone(session)));
            self.status.send_replace(Status::Up);
        }
        Some(is_open)
    }

    /// Seldom: two servers that both take themselves for the primary go on to undo each other's roots.
    pub(super) fn tell_fenced(&self, fenced: usize) {
        let (at, of) = (self.at(), self.names.partitions().count());
        if let Some(kept_back) = self.fences.may_say() {
            tracing::warn!(
                at,
                fenced,
                of,
                kept_back,
                "Redis restarted or failed over: everything that it has in the namespace counts as invalidated"
            );
        }
    }

    /// For how long Redis has been out of reach.
    fn away(&self) -> Duration {
        match *self.status.borrow() {
            Status::Down { since, .. } => since.elapsed(),
            Status::Up => Duration::ZERO,
        }
    }

    /// All that the file holds is acknowledged, unless something has come in since. Nothing is being replayed: that
    /// is up to the task that waits here.
    async fn clear_file(&self) {
        if let Some(file) = &self.file {
            file.clear(|| Some(self.gate()).filter(|gate| gate.journal.is_empty())).await;
        }
    }
}

impl Last {
    fn of(session: &Session) -> Self {
        Self { incarnations: session.incarnations(), alive: Instant::now() }
    }
}

/// What was taken out of the journal. Unless it is acknowledged it goes back, also where the replay is dropped midway: a
/// keeper ends with its runtime, and its successor must not open the gate without it.
struct Replay<'a> {
    link: &'a Link,
    items: Vec<Item>,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if !self.items.is_empty() {
            // The file has them already.
            self.link.gate().journal.add(std::mem::take(&mut self.items));
        }
    }
}
