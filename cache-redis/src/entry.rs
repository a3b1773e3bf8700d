//! What lies at an entry's key.
//!
//! `L` stamp id is a lease, `V` stamp id payload a value, `Q…` a quarantine; stamp and id have 32 bytes each. Anything
//! else is garbage and counts as absent.

use std::io::Write as _;

use bytes::Bytes;
use cache_core::store::{Lease, LeaseId, Payload, Stored};
use redis::{Cmd, RedisWrite as _};
use sha1::{Digest as _, Sha1};

/// Kind, stamp and id.
pub(crate) const HEAD: usize = 65;

pub(crate) type Stamp = [u8; 32];

/// An entry as its bytes tell, before its stamp is compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Lease { stamp: Stamp, id: LeaseId },
    Value { stamp: Stamp, id: LeaseId },
    Held,
    Garbage,
}

impl Entry {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        match (bytes.first(), bytes.len()) {
            (Some(b'Q'), _) => Self::Held,
            (Some(b'L'), HEAD) => Self::Lease { stamp: field(bytes, 1), id: LeaseId(field(bytes, 33)) },
            (Some(b'V'), HEAD..) => Self::Value { stamp: field(bytes, 1), id: LeaseId(field(bytes, 33)) },
            _ => Self::Garbage,
        }
    }
}

/// The half of a stamp that stands for tokens of other partitions.
pub(crate) type Half = [u8; 16];

/// The stamp of these tokens, the root first. With tokens in other partitions each has a half of it.
pub(crate) fn stamp<'a>(tokens: impl IntoIterator<Item = &'a [u8]>, elsewhere: Option<Half>) -> Stamp {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let own = half(tokens);
    let mut stamp = [0; 32];
    if let Some(elsewhere) = elsewhere {
        stamp[..16].copy_from_slice(&own);
        stamp[16..].copy_from_slice(&elsewhere);
        return stamp;
    }
    for (pair, byte) in stamp.chunks_exact_mut(2).zip(own) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    stamp
}

/// What stands for these tokens in a stamp, the root of each partition first.
pub(crate) fn half<'a>(tokens: impl IntoIterator<Item = &'a [u8]>) -> Half {
    let mut hash = Sha1::new();
    for (index, token) in tokens.into_iter().enumerate() {
        if index > 0 {
            hash.update(b"|");
        }
        hash.update(token);
    }
    *hash.finalize().first_chunk().expect("a digest has 20 bytes")
}

/// The value in an entry's bytes, without copying it.
pub(crate) fn stored(id: LeaseId, entry: &Bytes) -> Stored {
    Stored { id, payload: Payload::Bytes(entry.slice(HEAD..)) }
}

/// A lease or the head of its value, as stored.
pub(crate) fn head(kind: u8, lease: &Lease) -> [u8; HEAD] {
    let mut head = [kind; HEAD];
    head[1..33].copy_from_slice(&lease.stamp);
    head[33..].copy_from_slice(&lease.id.0);
    head
}

/// Appends a value as the next argument, without assembling it first.
pub(crate) fn write_value(command: &mut Cmd, lease: &Lease, payload: &[u8]) {
    let mut value = command.writer_for_next_arg();
    value
        .write_all(&head(b'V', lease))
        .and_then(|()| value.write_all(payload))
        .expect("a command is written to memory");
}

fn field(bytes: &[u8], at: usize) -> [u8; 32] {
    bytes[at..at + 32].try_into().expect("the caller has checked the length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [&[u8]; 3] = [b"root", b"T1", b"T2"];

    #[test]
    fn the_stamp_is_the_one_that_the_scripts_compute() {
        // redis.sha1hex('root|T1|T2'), the first 32 digits
        let expected = b"2f77dfbf7dd42d68b3b591f691189da1";
        assert_eq!(std::str::from_utf8(&stamp(TOKENS, None)), std::str::from_utf8(expected));
    }

    #[test]
    fn each_half_of_a_stamp_stands_for_its_own_tokens() {
        let both = stamp(TOKENS, Some(half([&b"root"[..], b"T3"])));
        assert_eq!(both[..16], half(TOKENS));
        assert_eq!(both[16..], half([&b"root"[..], b"T3"]));
        assert_eq!(half(TOKENS)[..2], [0x2f, 0x77]);
        assert_ne!(half(TOKENS), half([&b"root"[..], b"T2", b"T1"]));
    }

    #[test]
    fn what_does_not_fit_is_garbage() {
        let lease = Lease { id: LeaseId([b'i'; 32]), stamp: [b's'; 32], replaces: None };
        let exact = head(b'L', &lease);
        assert_eq!(Entry::parse(&exact), Entry::Lease { stamp: lease.stamp, id: lease.id });
        assert_eq!(Entry::parse(&[&exact[..], b"x"].concat()), Entry::Garbage);
        assert_eq!(Entry::parse(&head(b'V', &lease)[..64]), Entry::Garbage);
        assert_eq!(Entry::parse(b""), Entry::Garbage);
        assert_eq!(Entry::parse(b"hello"), Entry::Garbage);
        assert_eq!(Entry::parse(b"Q"), Entry::Held);
    }
}
