//! What leaves together for one partition.

use std::{collections::HashMap, time::Duration};

use redis::{Cmd, Pipeline, Value};

use super::{Found, Part, found_head, head, mget, read_out};
use crate::{
    call_error::CallError,
    connection::{Connection, checked},
    partition::Partition,
};

/// The keys of one partition that several reads want, each once.
pub(super) struct Batch<'a> {
    at: Partition,
    whole: Vec<&'a [u8]>,
    heads: Vec<&'a [u8]>,
    places: HashMap<(&'a [u8], Part), usize>,
}

/// Where in what was found a key is.
pub(super) type Place = (Part, usize);

/// What a batch has found.
pub(super) struct Batched {
    whole: Vec<Found>,
    heads: Vec<Found>,
}

impl<'a> Batch<'a> {
    /// The batch of this partition among `batches`, by its number.
    pub(super) fn of(at: Partition, batches: &mut Vec<Self>) -> usize {
        batches.iter().position(|batch| batch.at == at).unwrap_or_else(|| {
            batches.push(Self { at, whole: Vec::new(), heads: Vec::new(), places: HashMap::new() });
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

    fn add_commands(&self, commands: &mut Pipeline) {
        for name in &self.heads {
            commands.add_command(head(name));
        }
        commands.add_command(self.mget());
    }

    fn mget(&self) -> Cmd {
        mget(self.whole.iter().copied(), self.whole.len())
    }

    fn read_out(&self, replies: &mut impl Iterator<Item = Value>) -> Result<Batched, CallError> {
        // All of its own, whatever they are: the next batch's come behind.
        let heads: Vec<_> = replies.by_ref().take(self.heads.len()).map(found_head).collect();
        let whole = checked(replies.next().unwrap_or(Value::Nil));
        Ok(Batched { heads: heads.into_iter().collect::<Result<_, _>>()?, whole: read_out(whole?, self.whole.len())? })
    }
}

impl Batched {
    pub(super) fn at(&self, (part, place): Place) -> Found {
        let found = if part == Part::Head { &self.heads } else { &self.whole };
        found[place].clone()
    }
}

/// Reads all batches at once. Each has its own answer.
pub(super) async fn read(
    connection: &Connection,
    batches: &[Batch<'_>],
    bound: Duration,
) -> Vec<Result<Batched, CallError>> {
    if let [batch] = batches
        && batch.heads.is_empty()
    {
        let found = connection.send(&batch.mget(), bound).await.and_then(|reply| read_out(reply, batch.whole.len()));
        return vec![found.map(|whole| Batched { whole, heads: Vec::new() })];
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
