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
//! What is known to be large has [a way of its own](crate::connection::Large), and a queue of its own.
//!
//! A caller that goes away leaves its keys in the queue, and they are left out when its turn comes.

mod batch;
mod keys;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{Pipeline, Value};
use tokio::{runtime::Handle, sync::oneshot};

pub(crate) use self::keys::{Findings, Found, Part, Wanted, found};
use self::{
    batch::{Batch, head, mget},
    keys::{found_head, read_out},
};
use crate::{
    call_error::CallError,
    connection::{Connection, Way, checked},
    session::Session,
};

/// How many commands of reads are under way at once. With fewer, each carries more and costs less; with more, the server
/// has something to do while answers travel. Measured with 64 and 256 readers: from 2 to 8 it makes little difference.
const AT_ONCE: usize = 4;

/// How many reads leave together at most: none waits for long behind the others' values.
const MOST: usize = 64;

/// The same of large values: the server answers nobody else while it puts the answer together.
const MOST_LARGE: usize = 4;

type Answer = Result<Findings, CallError>;

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
    line: LineOf,
    bound: Duration,
    is_free: bool,
}

/// Where a read queues.
#[derive(Clone)]
struct LineOf {
    session: Arc<Session>,
    /// The connection's number in it.
    number: usize,
    way: Way,
}

enum Entered {
    Send(Slot, Wanted),
    Wait(oneshot::Receiver<Answer>),
}

/// Reads keys over the session's connection of this number within the bound, which also covers the time in the queue.
pub(crate) async fn read(session: &Arc<Session>, number: usize, wanted: Wanted, bound: Duration) -> Answer {
    let large = session.nth(number).large();
    let mark = wanted.entry().map(|name| large.mark(name));
    let way = if mark.is_some_and(|mark| large.is_for(mark)) { Way::Large } else { Way::First };
    let answer = match enter(LineOf { session: Arc::clone(session), number, way }, wanted, bound) {
        Entered::Send(slot, wanted) => {
            let found = send(&slot.line, &wanted, bound).await;
            drop(slot);
            found
        }
        Entered::Wait(answered) => session.nth(number).wait(way, bound, answered).await,
    };
    if let (Some(mark), Ok(found)) = (mark, &answer) {
        large.note(mark, found.first_len());
    }
    answer
}

fn enter(line: LineOf, wanted: Wanted, bound: Duration) -> Entered {
    let mut waiting = line.lock();
    if waiting.under_way < AT_ONCE {
        waiting.under_way += 1;
        drop(waiting);
        return Entered::Send(Slot { line, bound, is_free: false }, wanted);
    }
    let (answer, answered) = oneshot::channel();
    waiting.queue.push_back(Waiting { wanted, answer });
    Entered::Wait(answered)
}

impl LineOf {
    fn connection(&self) -> &Connection {
        self.session.nth(self.number)
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.connection().reads(self.way).line()
    }

    /// How many reads leave together at most.
    fn most(&self) -> usize {
        if self.way == Way::Large { MOST_LARGE } else { MOST }
    }
}

impl Reads {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The reads to serve next. Without any the slot is free.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut line = self.line.lock();
        let mut next = Vec::with_capacity(line.queue.len().min(self.line.most()));
        while next.len() < self.line.most() {
            match line.queue.pop_front() {
                // Its caller has gone away, perhaps for want of an answer in time.
                Some(waiting) if waiting.answer.is_closed() => {}
                Some(waiting) => next.push(waiting),
                None => break,
            }
        }
        if next.is_empty() {
            line.under_way -= 1;
            self.is_free = true;
            return None;
        }
        Some(next)
    }

    async fn serve(mut self, mut waiting: Vec<Waiting>) {
        loop {
            answer(&self.line, waiting, self.bound).await;
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
                let successor = Self { line: self.line.clone(), bound: self.bound, is_free: false };
                runtime.spawn(successor.serve(waiting));
            }
        }
    }
}

/// Reads for all of these at once, each key once.
async fn answer(line: &LineOf, waiting: Vec<Waiting>, bound: Duration) {
    let keys = waiting.iter().map(|Waiting { wanted, .. }| wanted.len()).sum();
    let (mut batches, mut batch_of_each) = (Vec::with_capacity(1), Vec::with_capacity(waiting.len()));
    let mut places_of_all = Vec::with_capacity(keys);
    for Waiting { wanted, .. } in &waiting {
        let batch = Batch::of(wanted.at, keys, &mut batches);
        batch_of_each.push(batch);
        places_of_all.extend(wanted.parts().map(|(name, part)| batches[batch].place(name, part)));
    }
    let found = batch::read(line.connection(), line.way, &batches, bound).await;
    let mut places = places_of_all.into_iter();
    let answers: Vec<Answer> = std::iter::zip(&waiting, &batch_of_each)
        .map(|(Waiting { wanted, .. }, &batch)| {
            let own = places.by_ref().take(wanted.len()).map(|place| batches[batch].at(place));
            match &found[batch] {
                Ok(found) => Ok(Findings::shared(found, own)),
                Err(error) => {
                    own.for_each(drop);
                    Err(error.again())
                }
            }
        })
        .collect();
    for (Waiting { answer, .. }, found) in waiting.into_iter().zip(answers) {
        // An error: the caller has gone away.
        let _ = answer.send(found);
    }
}

/// Sends what one read wants.
async fn send(line: &LineOf, wanted: &Wanted, bound: Duration) -> Answer {
    let connection = line.connection();
    let (count, mut names) = (wanted.len(), wanted.iter());
    let mut found = Vec::with_capacity(count);
    match wanted.first {
        Part::Whole => read_out(connection.ask(line.way, &mget(names, count), bound).await?, count, &mut found)?,
        Part::Head => {
            let head = head(names.next().unwrap_or_default());
            let mut commands = Pipeline::with_capacity(2);
            commands.add_command(head).add_command(mget(names, count - 1));
            let mut replies = connection.send_all(&commands, bound).await?.into_iter();
            let (head, tokens) = (replies.next().unwrap_or(Value::Nil), replies.next().unwrap_or(Value::Nil));
            found.push(found_head(head)?);
            read_out(checked(tokens)?, count - 1, &mut found)?;
        }
    }
    Ok(Findings::alone(found))
}
