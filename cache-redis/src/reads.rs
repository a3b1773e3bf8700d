//! Reads of many tasks in shared commands.
//!
//! While few reads are under way, each is sent by itself and at once. Past that they queue, and when an answer comes in,
//! what has queued meanwhile leaves together: one `MGET`, in which a key that several ask for stands once. A token that
//! all entries of a function share is then read once for all of them. In a cluster, where a command takes keys of one
//! slot, it is one `MGET` for each partition.
//!
//! A command is made of what is in the queue when it is sent. So no read shares one that was sent before it began, and
//! each sees every invalidation that had returned by then.
//!
//! Of an entry a read may ask for the head only. That is a command of its own beside the `MGET`, one for all that ask for
//! the head of this entry.
//!
//! A caller that goes away leaves its keys in the queue; nobody waits for the answer.

mod batch;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};
use tokio::{runtime::Handle, sync::oneshot};

use self::batch::Batch;
use crate::{
    call_error::CallError,
    connection::{Connection, checked},
    entry::HEAD,
    error::UnexpectedReply,
    partition::Partition,
    session::Session,
};

/// How many commands of reads are under way at once. With fewer, each carries more and costs less; with more, the server
/// has something to do while answers travel. Measured with 64 and 256 readers: from 2 to 8 it makes little difference.
const AT_ONCE: usize = 4;

/// How many reads leave together at most: none waits for long behind the others' values.
const MOST: usize = 64;

/// What a key holds.
pub(crate) type Found = Option<Bytes>;

type Answer = Result<Vec<Found>, CallError>;

/// How much of an entry is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Whole,
    /// What says which value it is.
    Head,
}

/// The names of the keys of one read, one behind the other. All are in one partition.
#[derive(Debug)]
pub(crate) struct Wanted {
    at: Partition,
    /// How much of the first.
    first: Part,
    names: Vec<u8>,
    ends: Vec<usize>,
}

impl Wanted {
    pub(crate) fn with_capacity(at: Partition, keys: usize, bytes: usize) -> Self {
        Self { at, first: Part::Whole, names: Vec::with_capacity(bytes), ends: Vec::with_capacity(keys) }
    }

    /// Of the first key only this part.
    pub(crate) fn first(self, part: Part) -> Self {
        Self { first: part, ..self }
    }

    /// Adds a name, put together from its parts.
    pub(crate) fn push<'a>(&mut self, parts: impl Iterator<Item = &'a str>) {
        for part in parts {
            self.names.extend_from_slice(part.as_bytes());
        }
        self.ends.push(self.names.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |&end| &self.names[std::mem::replace(&mut from, end)..end])
    }

    fn parts(&self) -> impl Iterator<Item = (&[u8], Part)> {
        let of = move |number| if number == 0 { self.first } else { Part::Whole };
        self.iter().enumerate().map(move |(number, name)| (name, of(number)))
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
    /// The connection's number in it.
    number: usize,
    bound: Duration,
    is_free: bool,
}

enum Entered {
    Send(Slot, Wanted),
    Wait(oneshot::Receiver<Answer>),
}

/// Reads keys over the session's connection of this number within the bound, which also covers the time in the queue.
pub(crate) async fn read(session: &Arc<Session>, number: usize, wanted: Wanted, bound: Duration) -> Answer {
    let connection = session.nth(number);
    match enter(session, number, wanted, bound) {
        Entered::Send(slot, wanted) => {
            let found = send(connection, &wanted, bound).await;
            drop(slot);
            found
        }
        Entered::Wait(answered) => connection.wait(bound, answered).await,
    }
}

fn enter(session: &Arc<Session>, number: usize, wanted: Wanted, bound: Duration) -> Entered {
    let mut line = session.nth(number).reads().line();
    if line.under_way < AT_ONCE {
        line.under_way += 1;
        return Entered::Send(Slot { session: Arc::clone(session), number, bound, is_free: false }, wanted);
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
        let mut line = self.session.nth(self.number).reads().line();
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
            answer(self.session.nth(self.number), waiting, self.bound).await;
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
                let session = Arc::clone(&self.session);
                let successor = Self { session, number: self.number, bound: self.bound, is_free: false };
                runtime.spawn(successor.serve(waiting));
            }
        }
    }
}

/// Reads for all of these at once, each key once.
async fn answer(connection: &Connection, waiting: Vec<Waiting>, bound: Duration) {
    let mut batches = Vec::new();
    let (mut batch_of_each, mut places_of_all) = (Vec::with_capacity(waiting.len()), Vec::new());
    for Waiting { wanted, .. } in &waiting {
        let batch = Batch::of(wanted.at, &mut batches);
        batch_of_each.push(batch);
        places_of_all.extend(wanted.parts().map(|(name, part)| batches[batch].place(name, part)));
    }
    let found = batch::read(connection, &batches, bound).await;
    let mut places = places_of_all.into_iter();
    for (Waiting { wanted, answer }, batch) in waiting.into_iter().zip(batch_of_each) {
        let own = places.by_ref().take(wanted.len());
        // An error: the caller has gone away.
        let _ = answer.send(match &found[batch] {
            Ok(found) => Ok(own.map(|place| found.at(place)).collect()),
            Err(error) => {
                own.for_each(drop);
                Err(error.again())
            }
        });
    }
}

/// Sends what one read wants.
async fn send(connection: &Connection, wanted: &Wanted, bound: Duration) -> Answer {
    let (count, mut names) = (wanted.len(), wanted.iter());
    match wanted.first {
        Part::Whole => read_out(connection.send(&mget(names, count), bound).await?, count),
        Part::Head => {
            let head = head(names.next().unwrap_or_default());
            let mut commands = Pipeline::with_capacity(2);
            commands.add_command(head).add_command(mget(names, count - 1));
            let mut replies = connection.send_all(&commands, bound).await?.into_iter();
            let (head, tokens) = (replies.next().unwrap_or(Value::Nil), replies.next().unwrap_or(Value::Nil));
            let mut found = Vec::with_capacity(count);
            found.push(found_head(head)?);
            found.extend(read_out(checked(tokens)?, count - 1)?);
            Ok(found)
        }
    }
}

fn mget<'a>(names: impl Iterator<Item = &'a [u8]>, count: usize) -> Cmd {
    let mut command = Cmd::with_capacity(1 + count, 48 * count);
    command.arg("MGET");
    for name in names {
        command.arg(name);
    }
    command
}

/// One byte more, so that a lease with something behind it shows.
fn head(name: &[u8]) -> Cmd {
    let mut command = Cmd::with_capacity(4, 24 + name.len());
    command.arg("GETRANGE").arg(name).arg(0).arg(HEAD);
    command
}

fn read_out(reply: Value, count: usize) -> Answer {
    match reply {
        Value::Array(values) if values.len() == count => Ok(values.into_iter().map(found).collect()),
        _ => Err(CallError::Failed(Box::new(UnexpectedReply))),
    }
}

fn found_head(reply: Value) -> Result<Found, CallError> {
    match reply {
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(None),
        reply => Ok(found(checked(reply)?)),
    }
}

/// A key of another type counts as absent, as `MGET` has it.
pub(crate) fn found(value: Value) -> Found {
    match value {
        Value::BulkString(bytes) => Some(Bytes::from(bytes)),
        _ => None,
    }
}
