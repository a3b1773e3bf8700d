//! The path of a key, and its hash.
//!
//! A hit spends its time on building the key and looking it up, so the hash is computed while the path grows, from
//! the arguments rather than from the text that was written a moment ago: a processor that reads bytes which it has just
//! written piece by piece waits for them. So the hash is defined segment by segment. It is a function of the text alone,
//! whichever way the text came about: [`hash_of`] answers the same from the text.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hasher},
    sync::LazyLock,
};

use super::{MAX_SEGMENT, SEPARATOR, Segment, segment, text::Text};

/// Odd, and with no pattern in their bits.
const FACTORS: [u64; 2] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];

/// An encoded path. Equal paths are equal texts.
#[derive(Clone)]
pub(crate) struct Path {
    text: Text,
    hash: u64,
}

impl Path {
    pub(super) fn new() -> Self {
        Self { text: Text::new(), hash: *SEED }
    }

    /// A path of one segment, which is escaped like any.
    pub(crate) fn of_prefix(prefix: &str) -> Self {
        let mut path = Self::new();
        path.push(|segment| segment.text(prefix));
        path
    }

    /// A path that was encoded before.
    pub(super) fn of_encoded(text: String) -> Self {
        Self { hash: hash_of(&text), text: text.into() }
    }

    #[inline]
    pub(super) fn push(&mut self, encode: impl FnOnce(&mut Segment<'_>)) {
        if self.text.len() > 0 {
            self.text.push_word(u64::from(SEPARATOR as u32), 1);
        }
        let start = self.text.len();
        let mut segment = Segment::hashing(&mut self.text, self.hash);
        encode(&mut segment);
        match segment.hash() {
            Some(hash) => self.hash = hash,
            None => self.finish(start),
        }
    }

    /// For segments of several pieces, or with something escaped.
    #[cold]
    fn finish(&mut self, start: usize) {
        segment::shorten(&mut self.text, start);
        self.hash = fold(self.hash, &self.text.as_bytes()[start..]);
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.text.as_str()
    }

    pub(super) fn into_string(self) -> String {
        self.text.into_string()
    }

    /// [`hash_of`] this path.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Path {}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// The hash of a path, the same all over this process and different in each.
pub(crate) fn hash_of(path: &str) -> u64 {
    path.split(SEPARATOR).fold(*SEED, |hash, segment| fold(hash, segment.as_bytes()))
}

/// Nobody outside knows it, so nobody can find keys that meet.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("path"));

/// The hash after one more segment: eight bytes at a time, then what is left with the length of the whole.
#[inline]
pub(super) fn fold(hash: u64, segment: &[u8]) -> u64 {
    let (words, rest) = segment.as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| mix(hash ^ u64::from_le_bytes(*word), FACTORS[0]));
    fold_rest(hash, short_word(rest), segment.len())
}

/// The last step of [`fold`]: fewer than eight bytes as a word, of a segment of `len` bytes.
#[inline]
pub(super) fn fold_rest(hash: u64, rest: u64, len: usize) -> u64 {
    mix(hash ^ rest, FACTORS[1] ^ len as u64)
}

/// Fewer than eight bytes as a word, the first one lowest.
#[inline]
pub(super) fn short_word(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // They overlap in bytes that both have.
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4));
    }
    if len == 0 {
        return 0;
    }
    let at = |at: usize| u64::from(bytes[at]) << (8 * at);
    at(0) | at(len / 2) | at(len - 1)
}

#[inline]
fn mix(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    #[allow(clippy::cast_possible_truncation, reason = "both halves are taken")]
    let folded = product as u64 ^ (product >> 64) as u64;
    folded
}

/// Hashes what has a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known(u64);

impl Hasher for Known {
    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("what is hashed here gives its hash as one number");
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

impl BuildHasher for Known {
    type Hasher = Self;

    #[inline]
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

/// A segment that is longer than this has another form, which the quick ways do not make.
pub(super) const LONGEST: usize = MAX_SEGMENT;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_word_holds_its_bytes() {
        let all = *b"abcdefg";
        for len in 0..=7 {
            let mut padded = [0; 8];
            padded[..len].copy_from_slice(&all[..len]);
            assert_eq!(short_word(&all[..len]), u64::from_le_bytes(padded), "{len}");
        }
    }

    #[test]
    fn similar_paths_have_hashes_that_differ_in_all_places_where_a_table_looks() {
        let hashes: Vec<u64> = (0..50_000).map(|id| hash_of(&format!("rows:{id}:active"))).collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
        for shift in [0, 24, 48, 57] {
            let mut buckets = [0_u32; 128];
            for hash in &hashes {
                buckets[usize::try_from((hash >> shift) & 127).expect("small")] += 1;
            }
            let (least, most) = (buckets.iter().min().expect("128"), buckets.iter().max().expect("128"));
            // 391 on average; six standard deviations are 119.
            assert!(*least > 270 && *most < 512, "{shift}: {least} to {most}");
        }
        let near = ["a", "a:", "a:b", "ab", "a:''", "b:a", "aaaaaaaa", "aaaaaaaa:", "aaaaaaa", "aaaaaaa:a", ""];
        assert_eq!(near.iter().map(|path| hash_of(path)).collect::<HashSet<_>>().len(), near.len());
    }
}
