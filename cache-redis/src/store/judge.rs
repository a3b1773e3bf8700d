//! What was found at an entry's key, and what it is worth.

use cache_core::{
    mutant::{self, Mutant},
    store::{Acquired, Lease, LeaseId, Purpose, Read, StoreError},
};
use redis::Value;

use super::unexpected;
use crate::{
    connection::Incarnation,
    entry::{self, Entry, HEAD, Half, Stamp},
};

/// What an entry and its tokens, read from one server of this incarnation, come to. `elsewhere`: what stands for the
/// tokens of other partitions.
pub(super) fn judge(values: Vec<Value>, incarnation: &Incarnation, elsewhere: Option<Half>) -> Read {
    let mut values = values.into_iter();
    let found = values.next();
    let tokens = values.as_slice();
    if found.as_ref().is_some_and(is_held) || any_held(tokens) {
        return Read::Held;
    }
    let Some(Value::BulkString(found)) = found else {
        return Read::Miss { loading: None };
    };
    let entry = Entry::parse(&found);
    match (entry, live_stamp(tokens, incarnation, elsewhere)) {
        (Entry::Value { stamp, id }, Some(live)) if stamp == live || mutant::is(Mutant::NoStampComparison) => {
            Read::Hit(entry::stored(id, found))
        }
        (Entry::Lease { stamp, id }, Some(live)) if stamp == live => Read::Miss { loading: Some(id) },
        _ => Read::Miss { loading: None },
    }
}

/// Whether any of these is in quarantine, of which the first is a root.
pub(super) fn any_held(tokens: &[Value]) -> bool {
    tokens.iter().skip(1).any(is_held)
}

fn is_held(value: &Value) -> bool {
    bytes(value).is_some_and(|token| token.first() == Some(&b'Q'))
}

/// The stamp of the tokens as they are, if all are there and the root is of this incarnation.
fn live_stamp(tokens: &[Value], incarnation: &Incarnation, elsewhere: Option<Half>) -> Option<Stamp> {
    live_tokens(tokens, incarnation).map(|tokens| entry::stamp(tokens, elsewhere))
}

/// What goes into a stamp for these tokens, of which the first is a root, if all are there and the root is of this
/// incarnation: the root's own name, and the others as they are.
pub(super) fn live_tokens<'a>(
    tokens: &'a [Value],
    incarnation: &Incarnation,
) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
    let (root, tokens) = tokens.split_first()?;
    let root = bytes(root)?;
    let root = match root.strip_prefix(incarnation) {
        None if mutant::is(Mutant::NoIncarnationCheck) => root.get(incarnation.len()..)?,
        own => own?,
    };
    if tokens.iter().any(|token| bytes(token).is_none()) {
        return None;
    }
    Some(std::iter::once(root).chain(tokens.iter().filter_map(bytes)))
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// What a script's answer to the question for a lease says.
pub(super) fn acquired(answer: Vec<u8>, purpose: Purpose) -> Result<Acquired, StoreError> {
    let replaces = match purpose {
        Purpose::Refresh(id) => Some(id),
        Purpose::Load { .. } => None,
    };
    match answer.first() {
        Some(b'W') if answer.len() == HEAD => {
            let mut id = [0; 32];
            id.copy_from_slice(&answer[33..]);
            Ok(Acquired::Wait(LeaseId(id)))
        }
        Some(b'G') => Ok(Acquired::Gone),
        _ => match Entry::parse(&answer) {
            Entry::Lease { stamp, id } => Ok(Acquired::Lease(Lease { id, stamp, replaces })),
            Entry::Value { id, .. } => Ok(Acquired::Value(entry::stored(id, answer))),
            Entry::Held => Ok(Acquired::Held),
            Entry::Garbage => Err(unexpected()),
        },
    }
}
