//! What stands at a key: a lease, or a value with perhaps a refresh lease beside it.
//!
//! Entries are immutable and shared: a change puts another entry in the place. So a reader that took an entry out of the
//! map sees one consistent state without a lock.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    pin::{Pin, Pins},
    token::{self, Token},
};
use crate::{
    Key,
    clock::{Clock, Tick},
    mutant::{self, Mutant},
    store::{LeaseId, Payload, Stored},
};

/// What one entry costs at most, in bytes, beside its key, its payload and its tokens: itself, and its place in
/// the map with the reserve that a growing table keeps.
const OVERHEAD: usize = size_of::<Entry>() + 256;

/// The tokens of most keys have room in the entry itself.
pub(super) type Tokens = SmallVec<[Arc<Token>; 3]>;

/// What stands at one key.
pub(super) struct Entry {
    pub(super) key: Arc<str>,
    /// The hash of the key.
    pub(super) hash: u64,
    pub(super) state: State,
    stamp: Stamp,
    weight: u64,
}

pub(super) enum State {
    /// Somebody loads.
    Loading(Grant),
    /// A value, and perhaps somebody who loads its replacement.
    Valid { stored: Stored, expires: Tick, refresh: Option<Grant>, pin: Option<Arc<Pin>> },
}

/// A lease as the store keeps it.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    pub(super) id: LeaseId,
    pub(super) lapses: Tick,
}

impl Grant {
    /// The lease's name, while it has not lapsed.
    pub(super) fn running(self, clock: &Clock) -> Option<LeaseId> {
        clock.is_before(self.lapses).then_some(self.id)
    }
}

/// What an entry stands or falls with: the namespace's epoch and the tokens of its nodes and tags, as they were when
/// its lease was granted.
#[derive(Clone)]
pub(super) struct Stamp {
    epoch: u64,
    /// The nodes from the outermost inwards, then the tags in the key's order.
    tokens: Tokens,
    nodes: usize,
}

impl Stamp {
    pub(super) fn new(epoch: u64, nodes: usize, tokens: Tokens) -> Self {
        Self { epoch, tokens, nodes }
    }

    #[inline]
    fn is_alive(&self, epoch: u64) -> bool {
        self.epoch == epoch && self.tokens.iter().all(|token| token.is_alive())
    }

    /// Whether the entry was stamped with the very tags of this key. The nodes follow from the path; tags may
    /// differ where they were made from arguments that are not in the key.
    #[inline]
    fn has_tags_of(&self, key: &Key) -> bool {
        let tags = &self.tokens[self.nodes..];
        tags.len() == key.tags().len()
            && key.tags().iter().zip(tags).all(|(tag, token)| *tag.as_bytes() == *token.name().as_bytes())
    }
}

impl Entry {
    pub(super) fn new(key: Arc<str>, hash: u64, stamp: Stamp, state: State) -> Arc<Self> {
        let payload = match &state {
            State::Loading(_) => 0,
            State::Valid { stored, .. } => stored.payload.weight(),
        };
        let tokens: usize = stamp.tokens.iter().map(|token| token::WEIGHT + token.name().len()).sum();
        let weight = payload.saturating_add(key.len() + tokens + OVERHEAD) as u64;
        Arc::new(Self { key, hash, state, stamp, weight })
    }

    /// The same key under the same tokens in another state.
    pub(super) fn with(&self, state: State) -> Arc<Self> {
        Self::new(self.key.clone(), self.hash, self.stamp.clone(), state)
    }

    /// The same key under the same tokens with a value, pinned if it is to be and there is room for that.
    pub(super) fn with_value(&self, stored: Stored, expires: Tick, pins: &Arc<Pins>) -> Arc<Self> {
        let is_pinned = matches!(&stored.payload, Payload::Object { meta, .. } if meta.pinned);
        let pin = if is_pinned {
            let frame = self.weight.saturating_sub(self.payload_weight() as u64);
            let weight = frame.saturating_add(stored.payload.weight() as u64);
            // What is refreshed keeps its room.
            pins.take(weight).or_else(|| self.pin().cloned())
        } else {
            None
        };
        self.with(State::Valid { stored, expires, refresh: None, pin })
    }

    fn payload_weight(&self) -> usize {
        match &self.state {
            State::Loading(_) => 0,
            State::Valid { stored, .. } => stored.payload.weight(),
        }
    }

    fn pin(&self) -> Option<&Arc<Pin>> {
        match &self.state {
            State::Valid { pin, .. } => pin.as_ref(),
            State::Loading(_) => None,
        }
    }

    /// Whether the entry must stay.
    pub(super) fn is_pinned(&self, epoch: u64, clock: &Clock) -> bool {
        matches!(self.state, State::Valid { pin: Some(_), .. }) && self.is_good(epoch, clock)
    }

    /// A value with another refresh lease beside it, or none. A lease has nothing beside it and stays what it is.
    pub(super) fn with_refresh(&self, refresh: Option<Grant>) -> Arc<Self> {
        self.with(match &self.state {
            State::Loading(grant) => State::Loading(*grant),
            State::Valid { stored, expires, pin, .. } => {
                State::Valid { stored: stored.clone(), expires: *expires, refresh, pin: pin.clone() }
            }
        })
    }

    /// Whether nothing has invalidated the entry and it is not over by time.
    #[inline]
    pub(super) fn is_good(&self, epoch: u64, clock: &Clock) -> bool {
        let until = match &self.state {
            State::Loading(grant) => grant.lapses,
            State::Valid { expires, .. } => *expires,
        };
        clock.is_before(until) && (self.stamp.is_alive(epoch) || mutant::is(Mutant::MemoryIgnoresTokens))
    }

    #[inline]
    pub(super) fn has_tags_of(&self, key: &Key) -> bool {
        self.stamp.has_tags_of(key)
    }

    /// How often the namespace had been invalidated when the entry's lease was granted.
    pub(super) fn epoch(&self) -> u64 {
        self.stamp.epoch
    }

    /// The lease that stands here, in the entry's own place (`replaces` is `None`) or beside the value of that name.
    pub(super) fn grant(&self, replaces: Option<LeaseId>) -> Option<Grant> {
        match (&self.state, replaces) {
            (State::Loading(grant), None) => Some(*grant),
            (State::Valid { stored, refresh, .. }, Some(old)) if stored.id == old => *refresh,
            _ => None,
        }
    }

    #[inline]
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }
}
