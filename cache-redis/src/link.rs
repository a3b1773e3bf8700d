//! The connection over time: given up when it fails, opened again, and trusted only when nothing is left to replay.
//!
//! Invariants, all kept under the gate's lock:
//!
//! - While the journal holds anything there is no current session, so nothing is read or filled.
//! - An invalidation either goes over the session or is in the journal before a session can become current.
//! - An acknowledgement counts only while its session is the one in use: it is in the ring before another can be joined.

mod join;
mod keeper;
mod keeping;
mod primary;
#[cfg(test)]
mod tests;

pub(crate) use self::keeper::Keeper;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant as StdInstant},
};

use arc_swap::ArcSwapOption;
use cache_core::{
    Outcome, Target,
    meter::Meter,
    store::{HolderId, Link as Status, StoreError, Traffic},
    trace::Seldom,
};
use redis::{Cmd, Value};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    call_error::CallError,
    config::{Address, RedisConfig},
    connection::{Connection, Incarnation},
    error::OnTheMove,
    feed::Feed,
    invalidate::Over,
    journal::{Item, Journal, JournalFile},
    name::Names,
    partition::Partition,
    reads::{Findings, Wanted},
    ring::Ring,
    script::SCRIPTS,
    sentinel::Sentinels,
    session::{Answer, Seen, Session},
};

/// A connection that lives for less than this was no good.
const STEADY: Duration = Duration::from_secs(5);

/// How often a connection proves that it takes writes.
const BEAT: Duration = Duration::from_millis(500);

/// After so many of them in a row one timeout is enough to give the next one up.
const PATIENT_FLAPS: u32 = 2;

/// What decides whether Redis may be trusted.
struct Gate {
    journal: Journal,
    /// What was acknowledged lately, for a server that has not heard of it.
    ring: Ring,
    /// Takes invalidations: the current session, or one that is about to be.
    writer: Option<Arc<Session>>,
    /// What was in use last.
    last: Option<Last>,
}

/// Servers that were in use.
#[derive(Clone)]
struct Last {
    incarnations: Arc<[Incarnation]>,
    /// When they last took a write.
    alive: Instant,
}

/// The connection over time.
pub(crate) struct Link {
    address: Address,
    /// Who knows which server is the primary, where more than the address does.
    sentinels: Option<Sentinels>,
    /// The nodes of the cluster, if it is one.
    seen: Seen,
    names: Names,
    call_timeout: Duration,
    connect_timeout: Duration,
    strikes: u32,
    /// The current session.
    session: ArcSwapOption<Session>,
    gate: Mutex<Gate>,
    file: Option<Arc<JournalFile>>,
    feed: Arc<Feed>,
    /// Says of fences.
    fences: Seldom,
    /// The log has it that there is no feed.
    is_refusal_told: AtomicBool,
    status: watch::Sender<Status>,
    lost: Notify,
    /// How many connections in a row were soon lost.
    flaps: AtomicU32,
    /// Whether a task keeps it.
    is_kept: AtomicBool,
}

impl Link {
    /// `left`: the journal's file, and what was in it.
    pub(crate) fn new(
        config: &RedisConfig,
        address: Address,
        names: Names,
        left: Option<(JournalFile, Vec<Item>)>,
    ) -> Self {
        let mut journal = Journal::new(config.journal_limit);
        let file = left.map(|(file, items)| {
            journal.add(items);
            Arc::new(file)
        });
        let status = Status::Down { since: StdInstant::now(), journal: journal.len() };
        Self {
            feed: Arc::new(Feed::new(names.feed(address.database), address.is_resp3, Meter::new(&config.namespace))),
            sentinels: Sentinels::of(&address.topology, config.call_timeout),
            address,
            seen: Seen::default(),
            names,
            call_timeout: config.call_timeout,
            connect_timeout: config.connect_timeout,
            strikes: config.timeouts_in_a_row,
            session: ArcSwapOption::empty(),
            gate: Mutex::new(Gate { journal, ring: Ring::new(), writer: None, last: None }),
            file,
            fences: Seldom::new(),
            is_refusal_told: AtomicBool::new(false),
            status: watch::Sender::new(status),
            lost: Notify::new(),
            flaps: AtomicU32::new(0),
            is_kept: AtomicBool::new(false),
        }
    }

    /// Where Redis is, for logs.
    pub(crate) fn at(&self) -> &str {
        &self.address.at
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The bound on calls.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// What the calls came to.
    pub(crate) fn traffic(&self) -> Traffic {
        self.address.counts.traffic()
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// The connection to use now.
    pub(crate) fn session(&self) -> Result<Arc<Session>, StoreError> {
        self.session.load_full().ok_or(StoreError::Unavailable)
    }

    /// Sends one command, for the server that owns its keys, within the bound on calls.
    pub(crate) async fn call<'s>(
        &self,
        session: &'s Arc<Session>,
        at: Partition,
        build: impl Fn(&Connection) -> Cmd,
    ) -> Result<Answer<'s>, StoreError> {
        let result = session.send(at, self.call_timeout, build).await;
        result.map_err(|error| self.settle(session, error))
    }

    /// Reads keys of a partition within the bound on calls.
    pub(crate) async fn read<'s>(
        &self,
        session: &'s Arc<Session>,
        at: Partition,
        want: impl Fn() -> Wanted,
    ) -> Result<Answer<'s, Findings>, StoreError> {
        let result = session.read(at, self.call_timeout, want).await;
        result.map_err(|error| self.settle(session, error))
    }

    /// Sends a command for each of these partitions within the bound on calls.
    pub(crate) async fn call_each<'s>(
        &self,
        session: &'s Arc<Session>,
        places: &[Partition],
        build: impl Fn(usize, &Connection) -> Cmd,
    ) -> Result<Vec<Answer<'s>>, StoreError> {
        let result = session.send_each(places, self.call_timeout, build).await;
        result.map_err(|error| self.settle(session, error))
    }

    /// Quarantines what stands at these keys, which a server that was deposed would acknowledge in vain.
    pub(crate) async fn hold(
        &self,
        session: &Arc<Session>,
        targets: &[Target],
        keys: Vec<(Partition, String)>,
        holder: HolderId,
        lasts: Duration,
    ) -> Result<(), StoreError> {
        let announcing = self.feed.announcing(targets.iter());
        let held = match self.over(session).hold(keys, &announcing, holder.0, lasts).await {
            Ok(told) => self.vouch(session).await.map(|()| told),
            failed => failed,
        };
        let told = held.map_err(|error| self.settle(session, error))?;
        self.wait_for_members(session, announcing, told).await;
        self.feed.tell_own(targets);
        Ok(())
    }

    fn over<'a>(&'a self, session: &'a Session) -> Over<'a> {
        Over { session, names: &self.names, feed: &self.feed, bound: self.call_timeout }
    }

    /// Invalidates. What Redis has not acknowledged is in the journal when this returns.
    pub(crate) async fn invalidate(&self, targets: &[Target], holder: Option<HolderId>) -> Outcome {
        let outcome = self.invalidate_everywhere(targets, Item::of(targets, holder)).await;
        self.feed.tell_own(targets);
        outcome
    }

    async fn invalidate_everywhere(&self, targets: &[Target], items: Vec<Item>) -> Outcome {
        let queued = loop {
            let session = match self.writer_or_journal(&items) {
                Ok(session) => session,
                Err(queued) => break queued,
            };
            let announcing = self.feed.announcing(targets.iter());
            let applied = match self.over(&session).invalidate(&items, &announcing).await {
                Ok(told) => self.vouch(&session).await.map(|()| told),
                failed => failed,
            };
            match applied {
                Ok(told) if self.count_acknowledged(&session, &items) => {
                    self.wait_for_members(&session, announcing, told).await;
                    return Outcome::Applied;
                }
                // Given up meanwhile: another server may have taken over that has not heard of this.
                Ok(_) => {}
                Err(error) => break self.journal_unanswered(&session, &items, &error),
            }
        };
        if let (Some(file), Some(queued)) = (&self.file, queued) {
            file.settle(queued).await;
        }
        Outcome::Journaled
    }

    /// Fences those of these partitions whose root is of another incarnation than their owner.
    pub(crate) async fn fence(&self, session: &Arc<Session>, places: &[Partition]) -> Result<(), StoreError> {
        for at in places {
            // A server that was demoted and promoted again while the connection lived: its answers are compared with the
            // wrong incarnation, and a fence by it would undo that of the others.
            match session.connection(*at).is_same_incarnation(self.call_timeout).await {
                Ok(true) => {}
                Ok(false) => {
                    self.drop_session(session, &mut self.gate(), &CHANGED);
                    return Err(StoreError::Unavailable);
                }
                Err(error) => return Err(self.settle(session, error)),
            }
        }
        let build = |number: usize, connection: &Connection| {
            let mut command = SCRIPTS.fence.call(1, 64);
            self.names.write_root(&mut command, places[number]);
            command.arg(connection.incarnation());
            command
        };
        let answers = self.call_each(session, places, build).await?;
        let fenced = answers.iter().filter(|answer| matches!(answer, Answer::From(_, Value::Int(1)))).count();
        self.address.counts.fences.add(fenced);
        if fenced > 0 {
            self.tell_fenced(fenced);
            let told = self.announce_everything(session, self.call_timeout).await;
            told.map_err(|error| self.settle(session, error))?;
        }
        Ok(())
    }

    /// Remembers what was acknowledged over this session. `false`: the session is no longer in use.
    fn count_acknowledged(&self, session: &Arc<Session>, items: &[Item]) -> bool {
        let mut gate = self.gate();
        let is_in_use = gate.writer.as_ref().is_some_and(|writer| Arc::ptr_eq(writer, session));
        if is_in_use {
            gate.ring.add(items, Instant::now());
        }
        is_in_use
    }

    /// Journals what had no answer. Whether it took effect is not known, so it counts as not done, and nothing is trusted
    /// until it is.
    fn journal_unanswered(&self, session: &Arc<Session>, items: &[Item], error: &CallError) -> Option<u64> {
        let mut gate = self.gate();
        let queued = self.journal(&mut gate, items);
        self.drop_session(session, &mut gate, error);
        // Another session may have become current since this one failed.
        if let Some(current) = self.session.load_full() {
            self.drop_session(&current, &mut gate, error);
        }
        self.tell_journal(&gate.journal);
        queued
    }

    /// The session to invalidate over, or none, with the items in the journal. Both under one lock: a session that
    /// becomes current has seen what was journaled before.
    fn writer_or_journal(&self, items: &[Item]) -> Result<Arc<Session>, Option<u64>> {
        let mut gate = self.gate();
        if let Some(writer) = &gate.writer {
            return Ok(Arc::clone(writer));
        }
        let queued = self.journal(&mut gate, items);
        self.tell_journal(&gate.journal);
        Err(queued)
    }

    /// Adds to the journal, and queues what is new for its file.
    fn journal(&self, gate: &mut Gate, items: &[Item]) -> Option<u64> {
        let new = gate.journal.add(items.iter().cloned());
        self.file.as_ref().map(|file| file.enqueue(&new))
    }

    /// Turns a failed call into the caller's error, and gives the session up if it is of no more use.
    pub(crate) fn settle(&self, session: &Arc<Session>, error: CallError) -> StoreError {
        match error {
            CallError::Failed(error) => StoreError::Failed(error),
            CallError::Timeout { strikes } if strikes < self.patience(session) => StoreError::Timeout,
            CallError::Timeout { .. } => {
                self.drop_session(session, &mut self.gate(), &error);
                StoreError::Timeout
            }
            // Where keys have moved to the session knows, or the next one will.
            CallError::OutOfReach(_) | CallError::Deposed(_) | CallError::Moved(_) => {
                self.drop_session(session, &mut self.gate(), &error);
                StoreError::Unavailable
            }
            CallError::OnTheMove(_) => StoreError::Failed(Box::new(OnTheMove)),
        }
    }

    /// After how many timeouts in a row the session is given up.
    fn patience(&self, session: &Session) -> u32 {
        let is_on_probation = self.flaps.load(Ordering::Relaxed) >= PATIENT_FLAPS && session.age() < STEADY;
        if is_on_probation { 1 } else { self.strikes }
    }

    /// Gives the session up, if it is in use.
    fn drop_session(&self, session: &Arc<Session>, gate: &mut Gate, why: &dyn std::fmt::Display) {
        if !gate.writer.as_ref().is_some_and(|writer| Arc::ptr_eq(writer, session)) {
            return;
        }
        gate.writer = None;
        self.feed.lose();
        if self.session.swap(None).is_some() {
            let flaps = if session.age() < STEADY { self.flaps.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
            self.flaps.store(flaps, Ordering::Relaxed);
            self.status.send_replace(Status::Down { since: StdInstant::now(), journal: gate.journal.len() });
            self.lost.notify_one();
            self.address.counts.losses.add(1);
            tracing::warn!(at = session.at(), %why, "lost Redis");
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

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}

/// Why a session is given up whose server has become another.
const CHANGED: &str = "the server has changed its replication id";
