//! What is shown of a store.

use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::Cursor;
#[cfg(feature = "json")]
use super::LARGEST;
use crate::{codec::Meta, entry::Header, key::Key, registry};

/// The names that a [`Preview`] shows.
const SHOWN: usize = 20;

/// What lies at an entry, as a store tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// What it is.
    pub kind: Kind,
    /// When it ends by itself; `None`: never.
    pub ttl: Option<Duration>,
    /// How many bytes it has: as stored, or in memory.
    pub bytes: u64,
    /// Whether it is valid, taking it for an entry without tags.
    pub fits: bool,
    /// The first bytes of what is stored, from the header on.
    pub head: Option<Bytes>,
    /// Of an object, what is stored beside it.
    pub meta: Option<Meta>,
}

/// What lies at an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// A value.
    Value,
    /// The lease of a load that runs.
    Loading,
    /// A quarantine.
    Held,
    /// Something that no store of ours has put there.
    Foreign,
}

/// Whether a stored value would be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Validity {
    /// Yes.
    Valid,
    /// No: invalidated, and not removed yet.
    Invalidated,
    /// It has tags, or belongs to a function that this program does not know: its key alone does not tell.
    Unknown,
}

/// An entry in a list.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Item {
    /// Its encoded path, without namespace.
    pub path: String,
    /// What lies there.
    pub kind: Kind,
    /// Of a value: whether it would be served.
    pub validity: Option<Validity>,
    /// Milliseconds until it ends by itself.
    #[serde(rename = "ttl_ms", serialize_with = "millis")]
    pub ttl: Option<Duration>,
    /// How many bytes it has, the store's own included.
    pub bytes: u64,
    /// What encoded it: `postcard`, `message-pack`, `json`, `bincode`.
    pub codec: Option<&'static str>,
    /// What compressed it: `zstd`, `lz4`.
    pub compression: Option<&'static str>,
    /// The knowledge that there is no value (`negative_ttl`).
    pub is_negative: bool,
    /// How long the load took, in milliseconds.
    #[serde(rename = "load_time_ms", serialize_with = "millis")]
    pub load_time: Option<Duration>,
}

/// Some entries.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Page {
    /// What was found. May be empty before the end: a server's walk also passes what does not match.
    pub items: Vec<Item>,
    /// Where it goes on; `None` at the end.
    pub next: Option<Cursor>,
}

/// An entry in full.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Contents {
    /// As in a list.
    pub item: Item,
    /// Header and encoded value, up to [`LARGEST`] bytes; `None` for an object in memory and what is no value.
    pub bytes: Option<Bytes>,
}

/// What an invalidation would hit.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Preview {
    /// How many entries were counted, those that are invalid already included. Of a tag: none, since keys do not tell.
    pub count: u64,
    /// Whether there may be more than were counted.
    pub is_at_least: bool,
    /// Some of them.
    pub some: Vec<String>,
    /// Of a tag: whether anything is stored under it, if that can be told.
    pub tag_in_use: Option<bool>,
}

/// A server, as it describes itself. What it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Server {
    /// Where it is.
    pub at: String,
    /// What it is: `Redis 7.0.15`.
    pub version: Option<String>,
    /// For how many seconds it has been running.
    pub uptime_seconds: Option<u64>,
    /// How many bytes its data take.
    pub memory_bytes: Option<u64>,
    /// How many they may take; 0: no limit.
    pub memory_limit_bytes: Option<u64>,
    /// What it evicts at the limit.
    pub eviction_policy: Option<String>,
    /// How many keys it has evicted.
    pub evicted_keys: Option<u64>,
    /// How many keys have expired.
    pub expired_keys: Option<u64>,
    /// How many clients are connected.
    pub clients: Option<u64>,
    /// How many replicas are.
    pub replicas: Option<u64>,
    /// How many commands it executes in a second.
    pub commands_per_second: Option<u64>,
    /// How many keys the database has, those of others included.
    pub keys: Option<u64>,
}

impl Server {
    /// One of which nothing is known.
    pub fn new(at: impl Into<String>) -> Self {
        Self { at: at.into(), ..Self::default() }
    }
}

impl Preview {
    pub(super) fn add(&mut self, paths: impl IntoIterator<Item = String>) {
        for path in paths {
            self.count += 1;
            if self.some.len() < SHOWN {
                self.some.push(path);
            }
        }
    }
}

impl Item {
    pub(super) fn new(key: &Key, described: Described) -> Self {
        let Described { kind, ttl, bytes, fits, head, meta } = described;
        let header = head.as_deref().and_then(Header::peek);
        let validity = (kind == Kind::Value).then(|| match registry::has_tags(key.prefix()) {
            _ if fits => Validity::Valid,
            Some(false) => Validity::Invalidated,
            Some(true) | None => Validity::Unknown,
        });
        let load_time = header.as_ref().map(|header| header.meta).or(meta).map(|meta| meta.load_time);
        Self {
            path: key.as_str().to_owned(),
            kind,
            validity,
            ttl,
            bytes,
            codec: header.as_ref().filter(|header| !header.is_negative).and_then(Header::codec_name),
            compression: header.as_ref().and_then(Header::compression_name),
            is_negative: header.is_some_and(|header| header.is_negative),
            load_time,
        }
    }
}

impl Contents {
    /// The value, where its codec describes itself (JSON and `MessagePack`) and all of it was fetched.
    #[cfg(feature = "json")]
    pub fn json(&self) -> Option<serde_json::Value> {
        crate::codec::readable(self.bytes.as_ref()?, LARGEST)
    }
}

#[allow(clippy::ref_option, reason = "what serde calls")]
fn millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}
