//! The bytes of a stored value: header, payload, checksum.
//!
//! | bytes | content (numbers are little-endian) |
//! |---|---|
//! | 0 | format version, [`FORMAT`] |
//! | 1 | codec in the low four bits, compression in the high four |
//! | 2 | flags: 1 negative (no payload), 2 traced (a trace follows the header), 4 fresh until a time, 8 expires at a time |
//! | 3 | zero |
//! | 4–7 | length of the payload before compression |
//! | 8–15 | schema fingerprint |
//! | 16–23 | that time, Unix time in milliseconds |
//! | 24–27 | load time in microseconds, at most 71 minutes |
//! | 28–35 | only with the flag *traced*: the trace of the value's contents |
//! | … | payload |
//! | last 4 | CRC-32 of all before it |
//!
//! Anything that does not fit is a [`DecodeError`], whatever the bytes are; the checksum finds every single changed byte.
//! It is no protection against somebody who writes to the store on purpose: the lengths are therefore checked for themselves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::codec::{DecodeError, Meta};

/// The version of the layout. Entries of another one are misses.
pub(crate) const FORMAT: u8 = 0xA1;

/// The bytes before the trace or payload.
pub(crate) const HEADER: usize = 28;
const TRACE: usize = 8;
const CHECKSUM: usize = 4;

const NEGATIVE: u8 = 1;
const TRACED: u8 = 2;
const FRESHNESS: u8 = 4;
const EXPIRY: u8 = 8;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) codec: u8,
    pub(crate) compression: u8,
    /// There is no value, and no payload.
    pub(crate) is_negative: bool,
    pub(crate) trace: Option<u64>,
    pub(crate) raw_len: u32,
    pub(crate) fingerprint: u64,
    pub(crate) meta: Meta,
}

impl Header {
    /// How many bytes to leave for the header in front of the payload.
    pub(crate) const fn room(is_traced: bool) -> usize {
        if is_traced { HEADER + TRACE } else { HEADER }
    }

    /// Writes the header into the room that `entry` has in front of its payload, and the checksum behind it.
    pub(crate) fn seal(&self, entry: &mut Vec<u8>) {
        let mut flags = 0;
        if self.is_negative {
            flags |= NEGATIVE;
        }
        if let Some(trace) = self.trace {
            flags |= TRACED;
            entry[HEADER..HEADER + TRACE].copy_from_slice(&trace.to_le_bytes());
        }
        let end = match (self.meta.fresh_until, self.meta.expires) {
            (Some(at), _) => {
                flags |= FRESHNESS;
                millis(at)
            }
            (None, Some(at)) => {
                flags |= EXPIRY;
                millis(at)
            }
            (None, None) => 0,
        };
        let load_time = u32::try_from(self.meta.load_time.as_micros()).unwrap_or(u32::MAX);
        entry[..4].copy_from_slice(&[FORMAT, self.codec | self.compression << 4, flags, 0]);
        entry[4..8].copy_from_slice(&self.raw_len.to_le_bytes());
        entry[8..16].copy_from_slice(&self.fingerprint.to_le_bytes());
        entry[16..24].copy_from_slice(&end.to_le_bytes());
        entry[24..28].copy_from_slice(&load_time.to_le_bytes());
        let checksum = crc32fast::hash(entry);
        entry.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Reads the header of `entry`, and returns it with the payload. The checksum is checked last and only if
    /// `fingerprint` is the entry's: another release's entry costs nothing.
    pub(crate) fn open(entry: &[u8], fingerprint: u64) -> Result<(Self, &[u8]), DecodeError> {
        let (content, checksum) = entry.split_last_chunk::<CHECKSUM>().ok_or(DecodeError::TooShort)?;
        let (fixed, rest) = content.split_first_chunk::<HEADER>().ok_or(DecodeError::TooShort)?;
        let mut header = Self::fixed(fixed)?;
        if header.fingerprint != fingerprint {
            return Err(DecodeError::Schema);
        }
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(DecodeError::Checksum);
        }
        let payload = if four(fixed, 0)[2] & TRACED == 0 {
            rest
        } else {
            let (trace, payload) = rest.split_first_chunk::<TRACE>().ok_or(DecodeError::TooShort)?;
            header.trace = Some(u64::from_le_bytes(*trace));
            payload
        };
        header.fits(payload.len())?;
        Ok((header, payload))
    }

    /// What the first bytes of an entry say, by themselves.
    pub(crate) fn peek(entry: &[u8]) -> Option<Self> {
        Self::fixed(entry.first_chunk()?).ok()
    }

    /// What encoded the payload.
    pub(crate) fn codec_name(&self) -> Option<&'static str> {
        Some(match self.codec {
            1 => "postcard",
            2 => "message-pack",
            3 => "json",
            4 => "bincode",
            _ => return None,
        })
    }

    /// What compressed it.
    pub(crate) fn compression_name(&self) -> Option<&'static str> {
        Some(match self.compression {
            1 => "zstd",
            2 => "lz4",
            _ => return None,
        })
    }

    fn fixed(fixed: &[u8; HEADER]) -> Result<Self, DecodeError> {
        let [format, codecs, flags, zero] = four(fixed, 0);
        if format != FORMAT {
            return Err(DecodeError::Format(format));
        }
        if flags & !(NEGATIVE | TRACED | FRESHNESS | EXPIRY) != 0 || zero != 0 {
            return Err(DecodeError::Header);
        }
        Ok(Self {
            codec: codecs & 15,
            compression: codecs >> 4,
            is_negative: flags & NEGATIVE != 0,
            trace: None,
            raw_len: u32::from_le_bytes(four(fixed, 4)),
            fingerprint: eight(fixed, 8),
            meta: meta(flags, eight(fixed, 16), u32::from_le_bytes(four(fixed, 24)))?,
        })
    }

    fn fits(&self, payload: usize) -> Result<(), DecodeError> {
        let raw_len = self.raw_len as usize;
        let fits = match (self.is_negative, self.compression) {
            (true, compression) => payload == 0 && raw_len == 0 && compression == 0 && self.codec == 0,
            (false, 0) => payload == raw_len,
            (false, _) => payload < raw_len,
        };
        if fits { Ok(()) } else { Err(DecodeError::Length) }
    }
}

fn meta(flags: u8, end: u64, load_time: u32) -> Result<Meta, DecodeError> {
    let at = || SystemTime::checked_add(&UNIX_EPOCH, Duration::from_millis(end)).ok_or(DecodeError::Header);
    let (fresh_until, expires) = match (flags & (FRESHNESS | EXPIRY), end) {
        (0, 0) => (None, None),
        (FRESHNESS, _) => (Some(at()?), None),
        (EXPIRY, _) => (None, Some(at()?)),
        _ => return Err(DecodeError::Header),
    };
    Ok(Meta { fresh_until, expires, load_time: Duration::from_micros(load_time.into()), ..Meta::default() })
}

fn millis(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

fn four(fixed: &[u8; HEADER], at: usize) -> [u8; 4] {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&fixed[at..at + 4]);
    bytes
}

fn eight(fixed: &[u8; HEADER], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&fixed[at..at + 8]);
    u64::from_le_bytes(bytes)
}
