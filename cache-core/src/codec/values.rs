//! Encoding and decoding with everything around: schema, format by value, checks, compression, header.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Choice, Codec, Compression, DecodeError, EncodeError, Format, compress};
use crate::{
    entry::Header,
    schema::{self, Known, Stop},
};

/// What is stored beside a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Until when the value serves as fresh, to the millisecond. `None`: as long as it is there.
    pub fresh_until: Option<SystemTime>,
    /// When the entry ends in its store, where that is also the end of its freshness. For those who keep a copy.
    pub expires: Option<SystemTime>,
    /// How long the load took, to the microsecond and up to 71 minutes.
    pub load_time: Duration,
    /// Of an object, the user's part of its fingerprint. Zero beside encoded values, which have all of the fingerprint.
    pub version: u32,
    /// Of an object: not to be evicted, if there is room.
    pub pinned: bool,
}

/// How values become bytes and come back. Cheap to clone.
///
/// ```
/// use cache_core::codec::{Meta, Values};
///
/// let values = Values::new();
/// let bytes = values.encode(Some(&vec![1, 2, 3]), Meta::default(), 1)?;
/// let (value, _) = values.decode::<Vec<i32>>(&bytes, 1).expect("written by the same program");
/// assert_eq!(value, Some(vec![1, 2, 3]));
/// assert!(values.decode::<Vec<i64>>(&bytes, 1).is_err());
/// # Ok::<(), cache_core::codec::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Values {
    choice: Choice,
    compression: Compression,
    compress_from: usize,
    limit: usize,
}

impl Default for Values {
    fn default() -> Self {
        Self::new()
    }
}

impl Values {
    /// `Auto`; compression by zstd, or else LZ4, where compiled in, from 4 KiB up; a decode limit of 64 MiB.
    pub const fn new() -> Self {
        Self { choice: Choice::BEST, compression: Compression::best(), compress_from: 4 << 10, limit: 64 << 20 }
    }

    /// Writes with another codec. What others wrote stays readable.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "`.codec(Postcard)` is how it reads")]
    pub fn codec<C: Codec>(mut self, _codec: C) -> Self {
        self.choice = C::CHOICE;
        self
    }

    /// Compresses otherwise, or not. What others compressed stays readable.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Compresses payloads of at least so many bytes, and keeps the result if it is smaller.
    #[must_use]
    pub const fn compress_from(mut self, bytes: usize) -> Self {
        self.compress_from = bytes;
        self
    }

    /// The most that is decoded: bytes of a payload after decompression, and bytes that the lists and maps in a value take.
    #[must_use]
    pub const fn decode_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Encodes a value, or with `None` the knowledge that there is none. `version` is the user's part of the
    /// fingerprint.
    pub fn encode<T>(&self, value: Option<&T>, meta: Meta, version: u32) -> Result<Bytes, EncodeError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let known = schema::of::<T>();
        let mut header = Header {
            codec: 0,
            compression: 0,
            is_negative: value.is_none(),
            trace: None,
            raw_len: 0,
            fingerprint: known.schema.fingerprint(version),
            meta,
        };
        let Some(value) = value else {
            let mut entry = vec![0; Header::room(false)];
            header.seal(&mut entry);
            return Ok(entry.into());
        };
        // Both directions run the user's code, which must not take the caller's value away with a panic.
        let encoded = catch_unwind(AssertUnwindSafe(|| self.encode_safely(value, known)));
        let Encoded { format, trace, mut entry } = encoded.unwrap_or(Err(EncodeError::Panicked))?;
        header.codec = format as u8;
        header.trace = trace;
        let room = Header::room(trace.is_some());
        let raw_len = entry.len() - room;
        header.raw_len = u32::try_from(raw_len).map_err(|_| EncodeError::TooLarge(raw_len))?;
        if raw_len >= self.compress_from
            && let Some(smaller) = self.compression.compress(&entry[room..]).filter(|it| it.len() < raw_len)
        {
            header.compression = self.compression.id();
            entry.truncate(room);
            entry.extend_from_slice(&smaller);
        }
        header.seal(&mut entry);
        Ok(entry.into())
    }

    /// Decodes an entry: the value or the knowledge that there is none, and what is stored beside it.
    pub fn decode<T>(&self, bytes: &Bytes, version: u32) -> Result<(Option<T>, Meta), DecodeError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let known = schema::of::<T>();
        let (header, payload) = Header::open(bytes, known.schema.fingerprint(version))?;
        if header.is_negative {
            return Ok((None, header.meta));
        }
        let format = Format::from_id(header.codec)?;
        let raw_len = header.raw_len as usize;
        if raw_len > self.limit {
            return Err(DecodeError::Limit);
        }
        let raw = compress::decompress(header.compression, payload, raw_len)?;
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            let value = format.decode::<T>(&raw, self.limit)?;
            match header.trace {
                Some(trace) if schema::trace(&value, format.is_human_readable()).ok() != Some(trace) => {
                    Err(DecodeError::Schema)
                }
                _ => Ok(value),
            }
        }));
        decoded.unwrap_or(Err(DecodeError::Panicked)).map(|value| (Some(value), header.meta))
    }

    /// About how many bytes `value` takes in memory, for stores that hold objects: the sizes of the types in it, and what is behind
    /// pointers. Spare capacity is not seen, nor what serde skips. Nothing is encoded.
    pub fn weigh<T: Serialize + DeserializeOwned + 'static>(value: &T) -> usize {
        let behind = || schema::weigh(value, &schema::of::<T>().schema).ok();
        let behind = catch_unwind(AssertUnwindSafe(behind)).ok().flatten();
        size_of::<T>().saturating_add(behind.unwrap_or(0))
    }

    /// Whether two values are the same, as far as their `Serialize` shows; in maps and sets whatever the order. `None` if that
    /// cannot be told.
    pub(crate) fn same<T: Serialize>(one: &T, other: &T) -> Option<bool> {
        let traces = || Some(schema::trace(one, true).ok()? == schema::trace(other, true).ok()?);
        catch_unwind(AssertUnwindSafe(traces)).ok().flatten()
    }

    fn encode_safely<T>(&self, value: &T, known: &Known) -> Result<Encoded, EncodeError>
    where
        T: Serialize + DeserializeOwned,
    {
        let conforms = match schema::conforms(value, &known.schema) {
            Ok(()) => true,
            Err(Stop::Depth) => return Err(EncodeError::TooDeep),
            // The value's own `Serialize` may do better for a format that is readable.
            Err(Stop::Misfit | Stop::Custom(_)) => false,
        };
        let (first, second) = match (self.choice, conforms) {
            (Choice::Only(format), _) => (format, None),
            (Choice::Auto, true) => (Format::Postcard, Some(Format::MessagePack)),
            (Choice::Auto, false) => (Format::MessagePack, Some(Format::Postcard)),
        };
        match (self.attempt(value, first, conforms, known), second) {
            // Whatever the schema says, the value does not survive: only a trace can tell on the way back.
            (Err(first @ (EncodeError::DoesNotRoundTrip | EncodeError::Codec(_))), Some(second)) => {
                self.attempt(value, second, false, known).map_err(|_| first)
            }
            (done, _) => done,
        }
    }

    /// Encodes in one format. A value that conforms to its schema is read back now and then, any other always.
    fn attempt<T>(&self, value: &T, format: Format, conforms: bool, known: &Known) -> Result<Encoded, EncodeError>
    where
        T: Serialize + DeserializeOwned,
    {
        let is_proven = conforms && format.is_positional();
        let room = Header::room(!is_proven);
        let mut entry = Vec::with_capacity(room + 256);
        entry.resize(room, 0);
        let entry = format.encode(value, entry)?;
        let raw = &entry[room..];
        if raw.len() > self.limit {
            return Err(EncodeError::TooLarge(raw.len()));
        }
        let is_large = raw.len() > self.limit / 32;
        if is_proven && !is_large && !known.is_due() {
            return Ok(Encoded { format, trace: None, entry });
        }
        let human_readable = format.is_human_readable();
        let trace = schema::trace(value, human_readable).map_err(stopped)?;
        let back = match format.decode::<T>(raw, self.limit) {
            Err(DecodeError::Limit) => return Err(EncodeError::TooLarge(raw.len())),
            back => back.ok(),
        };
        if back.and_then(|back| schema::trace(&back, human_readable).ok()) != Some(trace) {
            if is_proven {
                known.distrust();
            }
            return Err(EncodeError::DoesNotRoundTrip);
        }
        Ok(Encoded { format, trace: (!is_proven).then_some(trace), entry })
    }
}

/// A payload behind the room for its header.
struct Encoded {
    format: Format,
    trace: Option<u64>,
    entry: Vec<u8>,
}

fn stopped(stop: Stop) -> EncodeError {
    match stop {
        Stop::Depth => EncodeError::TooDeep,
        Stop::Misfit => EncodeError::DoesNotRoundTrip,
        Stop::Custom(message) => EncodeError::Codec(message),
    }
}

/// The value of an entry of which nothing is known, where its format describes itself.
#[cfg(feature = "json")]
pub(crate) fn readable(entry: &[u8], limit: usize) -> Option<serde_json::Value> {
    let (header, payload) = Header::open(entry, Header::peek(entry)?.fingerprint).ok()?;
    let format = Format::from_id(header.codec).ok().filter(|format| format.is_human_readable())?;
    let raw_len = header.raw_len as usize;
    if header.is_negative || raw_len > limit {
        return None;
    }
    let raw = compress::decompress(header.compression, payload, raw_len).ok()?;
    format.decode(&raw, 16 * limit).ok()
}
