//! What was found at an entry's key, and what it is worth.

use std::time::Duration;

use cache_core::{
    mutant::{self, Mutant},
    store::{Acquired, Lease, LeaseId, Purpose, Read, StoreError},
};

use super::unexpected;
use crate::{
    connection::Incarnation,
    entry::{self, Entry, HEAD, Half},
    reads::{Findings, Found},
};

/// What an entry and its tokens, read from one server of this incarnation, come to. `elsewhere`: what stands for the
/// tokens of other partitions.
pub(super) fn judge(values: &Findings, incarnation: &Incarnation, elsewhere: Option<Half>) -> Read {
    let tokens = || values.iter().skip(1);
    let Some(found) = values.iter().next() else { return Read::Miss { loading: None } };
    if is_held(found) || any_held(tokens()) {
        return Read::Held;
    }
    let Some(found) = found else {
        return Read::Miss { loading: None };
    };
    let live = live_tokens(tokens(), incarnation).map(|tokens| entry::stamp(tokens, elsewhere));
    match (Entry::parse(found), live) {
        (Entry::Value { stamp, id }, Some(live)) if stamp == live || mutant::is(Mutant::NoStampComparison) => {
            Read::Hit(entry::stored(id, found))
        }
        (Entry::Lease { stamp, id }, Some(live)) if stamp == live => Read::Miss { loading: Some(id) },
        _ => Read::Miss { loading: None },
    }
}

/// Whether any of these is in quarantine, of which the first is a root.
pub(super) fn any_held<'a>(tokens: impl Iterator<Item = &'a Found>) -> bool {
    tokens.skip(1).any(is_held)
}

fn is_held(value: &Found) -> bool {
    value.as_ref().is_some_and(|token| token.first() == Some(&b'Q'))
}

/// What goes into a stamp for these tokens, of which the first is a root, if all are there and the root is of this
/// incarnation: the root's own name, and the others as they are.
pub(super) fn live_tokens<'a>(
    mut tokens: impl Iterator<Item = &'a Found> + Clone,
    incarnation: &Incarnation,
) -> Option<impl Iterator<Item = &'a [u8]>> {
    let root: &[u8] = tokens.next()?.as_ref()?;
    let root = match root.strip_prefix(incarnation) {
        None if mutant::is(Mutant::NoIncarnationCheck) => root.get(incarnation.len()..)?,
        own => own?,
    };
    if tokens.clone().any(Option::is_none) {
        return None;
    }
    Some(std::iter::once(root).chain(tokens.flatten().map(|token| &**token)))
}

/// What a script's answer to the question for a lease says.
pub(super) fn acquired(answer: Vec<u8>, purpose: Purpose) -> Result<Acquired, StoreError> {
    let replaces = match purpose {
        Purpose::Refresh(id) => Some(id),
        Purpose::Load { .. } => None,
    };
    match answer.first() {
        Some(b'W') if answer.len() > HEAD => {
            let mut id = [0; 32];
            id.copy_from_slice(&answer[33..HEAD]);
            let left = std::str::from_utf8(&answer[HEAD..]).ok().and_then(|left| left.parse().ok());
            let left = Duration::from_millis(left.ok_or_else(unexpected)?);
            Ok(Acquired::Wait { lease: LeaseId(id), left })
        }
        Some(b'G') => Ok(Acquired::Gone),
        _ => match Entry::parse(&answer) {
            Entry::Lease { stamp, id } => Ok(Acquired::Lease(Lease { id, stamp, replaces })),
            Entry::Value { id, .. } => Ok(Acquired::Value(entry::stored(id, &answer.into()))),
            Entry::Held => Ok(Acquired::Held),
            Entry::Garbage => Err(unexpected()),
        },
    }
}
