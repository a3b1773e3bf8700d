//! Looking into the memory store.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    MemoryStore,
    entry::{Entry, State},
};
use crate::{
    glob::Glob,
    inspect::{Cursor, Described, Inspect, Kind, Paths},
    key::{Key, Tag},
    store::{Payload, StoreError},
};

/// How many entries a walk visits before it lets other tasks run.
const STEP: usize = 512;

#[async_trait]
impl Inspect for MemoryStore {
    /// In the order of the paths, so a cursor is the last one. What is over is not listed.
    async fn walk(&self, glob: &str, from: Option<&Cursor>, count: usize) -> Result<Paths, StoreError> {
        let (glob, after) = (Glob::new(glob), from.map(Cursor::as_str));
        let mut first = BTreeSet::new();
        let mut walk = self.entries.walk();
        loop {
            let visited = walk.by_ref().take(STEP).map(|entry| self.note(&entry, &glob, after, &mut first, count));
            if visited.count() < STEP {
                break;
            }
            tokio::task::yield_now().await;
        }
        let is_more = first.len() > count;
        if is_more {
            first.pop_last();
        }
        let next = first.last().filter(|_| is_more).map(|last| Cursor::new(&**last));
        Ok(Paths { paths: first.iter().map(|path| path.as_ref().to_owned()).collect(), next })
    }

    async fn describe(&self, keys: &[Key]) -> Result<Vec<Option<Described>>, StoreError> {
        Ok(keys.iter().map(|key| self.describe_one(key)).collect())
    }

    async fn bytes(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.entries.peek(key).and_then(|entry| match &entry.state {
            State::Valid { stored, .. } => match &stored.payload {
                Payload::Bytes(bytes) => Some(bytes.clone()),
                Payload::Object { .. } => None,
            },
            State::Loading(_) => None,
        }))
    }

    async fn has_tag(&self, tag: &Tag) -> Result<Option<bool>, StoreError> {
        Ok(Some(self.tags.has(tag.as_str())))
    }
}

impl MemoryStore {
    /// Keeps one path more than `count`, the first ones.
    fn note(
        &self,
        entry: &Entry,
        glob: &Glob,
        after: Option<&str>,
        first: &mut BTreeSet<std::sync::Arc<str>>,
        count: usize,
    ) {
        let is_next = after.is_none_or(|after| &*entry.key > after);
        if is_next && glob.matches(entry.key.as_bytes()) && entry.is_good(self.epoch(), &self.clock) {
            first.insert(entry.key.clone());
            if first.len() > count + 1 {
                first.pop_last();
            }
        }
    }

    fn describe_one(&self, key: &Key) -> Option<Described> {
        let entry = self.entries.peek(key).filter(|entry| entry.is_good(self.epoch(), &self.clock));
        let Some(entry) = entry else {
            let is_held = self.holds.cover(key, &self.clock);
            return is_held.then(|| described(Kind::Held, None, 0));
        };
        let left = |until: crate::clock::Tick| Some(until.since(self.clock.tick()));
        match &entry.state {
            State::Loading(grant) => Some(described(Kind::Loading, left(grant.lapses), entry.weight())),
            State::Valid { stored, expires, .. } => {
                let mut value = described(Kind::Value, left(*expires), entry.weight());
                match &stored.payload {
                    Payload::Bytes(bytes) => value.head = Some(bytes.slice(..bytes.len().min(64))),
                    Payload::Object { meta, .. } => value.meta = Some(*meta),
                }
                Some(value)
            }
        }
    }
}

fn described(kind: Kind, ttl: Option<std::time::Duration>, bytes: u64) -> Described {
    Described { kind, ttl, bytes, fits: true, head: None, meta: None }
}
