//! What a read asks for, and what it has found.

use std::sync::Arc;

use bytes::Bytes;
use redis::Value;
use smallvec::SmallVec;

use crate::{call_error::CallError, connection::checked, error::UnexpectedReply, partition::Partition};

/// What a key holds.
pub(crate) type Found = Option<Bytes>;

/// As many keys as most reads have: an entry, the root, and two levels with a tag.
const FEW: usize = 6;

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
    pub(super) at: Partition,
    /// How much of the first.
    pub(super) first: Part,
    names: Vec<u8>,
    ends: SmallVec<[usize; FEW]>,
}

impl Wanted {
    pub(crate) fn with_capacity(at: Partition, keys: usize, bytes: usize) -> Self {
        Self { at, first: Part::Whole, names: Vec::with_capacity(bytes), ends: SmallVec::with_capacity(keys) }
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

    /// The entry, where it is wanted whole.
    pub(super) fn entry(&self) -> Option<&[u8]> {
        self.iter().next().filter(|_| self.first == Part::Whole)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |&end| &self.names[std::mem::replace(&mut from, end)..end])
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (&[u8], Part)> {
        let of = move |number| if number == 0 { self.first } else { Part::Whole };
        self.iter().enumerate().map(move |(number, name)| (name, of(number)))
    }
}

/// What the keys of one read hold, in the order in which they were asked for.
#[derive(Debug)]
pub(crate) struct Findings {
    /// What all that shared the command have found.
    all: Arc<Vec<Found>>,
    places: SmallVec<[usize; FEW]>,
}

impl Findings {
    /// Of a read that shared with nobody.
    pub(crate) fn alone(all: Vec<Found>) -> Self {
        Self { places: (0..all.len()).collect(), all: Arc::new(all) }
    }

    pub(super) fn shared(all: &Arc<Vec<Found>>, places: impl Iterator<Item = usize>) -> Self {
        Self { all: Arc::clone(all), places: places.collect() }
    }

    /// How long the first is.
    pub(super) fn first_len(&self) -> usize {
        self.iter().next().and_then(Option::as_ref).map_or(0, Bytes::len)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Found> + Clone {
        self.places.iter().map(|&place| &self.all[place])
    }
}

pub(super) fn read_out(reply: Value, count: usize, into: &mut Vec<Found>) -> Result<(), CallError> {
    match reply {
        Value::Array(values) if values.len() == count => {
            into.extend(values.into_iter().map(found));
            Ok(())
        }
        _ => Err(CallError::Failed(Box::new(UnexpectedReply))),
    }
}

pub(super) fn found_head(reply: Value) -> Result<Found, CallError> {
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
