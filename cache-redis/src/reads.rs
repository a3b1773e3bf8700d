//! Reads of many tasks in shared commands.
//!
//! While few reads are under way, each is sent by itself and at once. Past that they queue, and when an answer comes in,
//! what has queued meanwhile leaves together: one `MGET`, in which a key that several ask for stands once. A token that
//! all entries of a function share is then read once for all of them.
//!
//! A command is made of what is in the queue when it is sent. So no read shares one that was sent before it began, and
//! each sees every invalidation that had returned by then.
//!
//! A caller that goes away leaves its keys in the queue; nobody waits for the answer.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use redis::{Cmd, Value};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    connection::{CallError, Session},
    error::UnexpectedReply,
};

/// How many commands of reads are under way at once. With fewer, each carries more and costs less; with more, the server
/// has something to do while answers travel. Measured with 64 and 256 readers: from 2 to 8 it makes little difference.
const AT_ONCE: usize = 4;

/// How many reads leave together at most: none waits for long behind the others' values.
const MOST: usize = 64;

/// What a key holds.
pub(crate) type Found = Option<Bytes>;

type Answer = Result<Vec<Found>, CallError>;

/// The names of the keys of one read, one behind the other.
#[derive(Debug)]
pub(crate) struct Wanted {
    names: Vec<u8>,
    ends: Vec<usize>,
}

impl Wanted {
    pub(crate) fn with_capacity(keys: usize, bytes: usize) -> Self {
        Self { names: Vec::with_capacity(bytes), ends: Vec::with_capacity(keys) }
    }

    /// Adds a name, put together from its parts.
    pub(crate) fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.names.extend_from_slice(part.as_bytes());
        }
        self.ends.push(self.names.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |&end| &self.names[std::mem::replace(&mut from, end)..end])
    }
}

/// The reads of one connection.
#[derive(Debug, Default)]
pub(crate) struct Reads(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    under_way: usize,
    queue: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    wanted: Wanted,
    answer: oneshot::Sender<Answer>,
}

/// The right to have one command under way. Whoever gives it up while others wait hands it to a task that serves them.
struct Slot {
    session: Arc<Session>,
    bound: Duration,
    is_free: bool,
}

enum Entered {
    Send(Slot, Wanted),
    Wait(oneshot::Receiver<Answer>),
}

/// Reads keys over this session within the bound, which also covers the time in the queue.
pub(crate) async fn read(session: &Arc<Session>, wanted: Wanted, bound: Duration) -> Answer {
    match enter(session, wanted, bound) {
        Entered::Send(slot, wanted) => {
            let found = send(session, wanted.iter(), wanted.len(), bound).await;
            drop(slot);
            found
        }
        Entered::Wait(answered) => session.wait(bound, answered).await,
    }
}

fn enter(session: &Arc<Session>, wanted: Wanted, bound: Duration) -> Entered {
    let mut line = session.reads().line();
    if line.under_way < AT_ONCE {
        line.under_way += 1;
        return Entered::Send(Slot { session: Arc::clone(session), bound, is_free: false }, wanted);
    }
    let (answer, answered) = oneshot::channel();
    line.queue.push_back(Waiting { wanted, answer });
    Entered::Wait(answered)
}

impl Reads {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The reads to serve next. Without any the slot is free.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut line = self.session.reads().line();
        if line.queue.is_empty() {
            line.under_way -= 1;
            self.is_free = true;
            return None;
        }
        let now = line.queue.len().min(MOST);
        Some(line.queue.drain(..now).collect())
    }

    async fn serve(mut self, mut waiting: Vec<Waiting>) {
        loop {
            answer(&self.session, waiting, self.bound).await;
            match self.next() {
                Some(next) => waiting = next,
                None => return,
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        while !self.is_free {
            let Some(waiting) = self.next() else { return };
            // Without a runtime there is nobody to serve: who waits is told by the dropped channel.
            if let Ok(runtime) = Handle::try_current() {
                self.is_free = true;
                let successor = Self { session: Arc::clone(&self.session), bound: self.bound, is_free: false };
                runtime.spawn(successor.serve(waiting));
            }
        }
    }
}

/// Reads for all of these at once, each key once.
async fn answer(session: &Session, waiting: Vec<Waiting>, bound: Duration) {
    let mut places = HashMap::new();
    let mut keys = Vec::new();
    let mut places_of_all = Vec::new();
    for name in waiting.iter().flat_map(|waiting| waiting.wanted.iter()) {
        places_of_all.push(*places.entry(name).or_insert_with(|| {
            keys.push(name);
            keys.len() - 1
        }));
    }
    let found = send(session, keys.iter().copied(), keys.len(), bound).await;
    let mut places = places_of_all.into_iter();
    for Waiting { wanted, answer } in waiting {
        let own = places.by_ref().take(wanted.len());
        // An error: the caller has gone away.
        let _ = answer.send(match &found {
            Ok(found) => Ok(own.map(|place| found[place].clone()).collect()),
            Err(error) => {
                own.for_each(drop);
                Err(error.again())
            }
        });
    }
}

async fn send(session: &Session, names: impl Iterator<Item = &'_ [u8]>, count: usize, bound: Duration) -> Answer {
    let mut command = Cmd::with_capacity(1 + count, 48 * count);
    command.arg("MGET");
    for name in names {
        command.arg(name);
    }
    match session.send(&command, bound).await? {
        Value::Array(values) if values.len() == count => Ok(values.into_iter().map(found).collect()),
        _ => Err(CallError::Failed(Box::new(UnexpectedReply))),
    }
}

/// A key of another type counts as absent, as `MGET` has it.
fn found(value: Value) -> Found {
    match value {
        Value::BulkString(bytes) => Some(Bytes::from(bytes)),
        _ => None,
    }
}
