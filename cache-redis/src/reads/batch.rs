//! What leaves together for one partition.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use redis::{Cmd, Pipeline, Value};

use super::keys::{Found, Part, found_head, read_out};
use crate::{
    call_error::CallError,
    connection::{Connection, Way, checked},
    entry::HEAD,
    partition::Partition,
};

/// What a batch has found: of heads, then of whole keys.
type Batched = Result<Arc<Vec<Found>>, CallError>;

/// The keys of one partition that several reads want, each once.
pub(super) struct Batch<'a> {
    at: Partition,
    whole: Vec<&'a [u8]>,
    heads: Vec<&'a [u8]>,
    places: HashMap<(&'a [u8], Part), usize, RandomState>,
}

/// Where in its part of what is found a key will be.
pub(super) type Place = (Part, usize);

impl<'a> Batch<'a> {
    fn with_capacity(at: Partition, keys: usize) -> Self {
        let places = HashMap::with_capacity_and_hasher(keys, RandomState::default());
        Self { at, whole: Vec::with_capacity(keys), heads: Vec::new(), places }
    }

    /// The batch of this partition among `batches`, by its number. `keys`: how many there may be.
    pub(super) fn of(at: Partition, keys: usize, batches: &mut Vec<Self>) -> usize {
        batches.iter().position(|batch| batch.at == at).unwrap_or_else(|| {
            batches.push(Self::with_capacity(at, keys));
            batches.len() - 1
        })
    }

    pub(super) fn place(&mut self, name: &'a [u8], part: Part) -> Place {
        let names = if part == Part::Head { &mut self.heads } else { &mut self.whole };
        let place = *self.places.entry((name, part)).or_insert_with(|| {
            names.push(name);
            names.len() - 1
        });
        (part, place)
    }

    /// Where in what was found it is.
    pub(super) fn at(&self, (part, place): Place) -> usize {
        if part == Part::Head { place } else { self.heads.len() + place }
    }

    fn add_commands(&self, commands: &mut Pipeline) {
        for name in &self.heads {
            commands.add_command(head(name));
        }
        commands.add_command(self.mget());
    }

    fn mget(&self) -> Cmd {
        mget(self.whole.iter().copied(), self.whole.len())
    }

    fn read_out(&self, replies: &mut impl Iterator<Item = Value>) -> Batched {
        let mut all = Vec::with_capacity(self.heads.len() + self.whole.len());
        // All of its own, whatever they are: the next batch's come behind.
        let mut failed = None;
        for head in replies.by_ref().take(self.heads.len()) {
            match found_head(head) {
                Ok(head) => all.push(head),
                Err(error) => failed = Some(error),
            }
        }
        let whole = replies.next().unwrap_or(Value::Nil);
        failed.map_or(Ok(()), Err)?;
        read_out(checked(whole)?, self.whole.len(), &mut all)?;
        Ok(Arc::new(all))
    }
}

/// Reads all batches at once. Each has its own answer.
pub(super) async fn read(connection: &Connection, way: Way, batches: &[Batch<'_>], bound: Duration) -> Vec<Batched> {
    if let [batch] = batches
        && batch.heads.is_empty()
    {
        let reply = connection.ask(way, &batch.mget(), bound).await;
        return vec![reply.and_then(|reply| batch.read_out(&mut std::iter::once(reply)))];
    }
    let mut commands = Pipeline::new();
    for batch in batches {
        batch.add_commands(&mut commands);
    }
    match connection.send_all(&commands, bound).await {
        Ok(replies) => {
            let mut replies = replies.into_iter();
            batches.iter().map(|batch| batch.read_out(&mut replies)).collect()
        }
        Err(error) => batches.iter().map(|_| Err(error.again())).collect(),
    }
}

pub(super) fn mget<'a>(names: impl Iterator<Item = &'a [u8]>, count: usize) -> Cmd {
    let mut command = Cmd::with_capacity(1 + count, 48 * count);
    command.arg("MGET");
    for name in names {
        command.arg(name);
    }
    command
}

/// One byte more, so that a lease with something behind it shows.
pub(super) fn head(name: &[u8]) -> Cmd {
    let mut command = Cmd::with_capacity(4, 24 + name.len());
    command.arg("GETRANGE").arg(name).arg(0).arg(HEAD);
    command
}
