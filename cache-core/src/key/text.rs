//! Encoded text while it grows: in place while it is short, on the heap when it is not.

use std::fmt;

/// How many bytes stay in place: the path of a method and a UUID fit.
const SHORT: usize = 96;

/// Encoded text. Building a short one allocates nothing.
#[derive(Clone)]
pub(crate) struct Text {
    /// How many bytes are in place.
    len: usize,
    short: [u8; SHORT],
    /// The text, once it is longer. While this is empty, what is in place is the text.
    long: String,
}

impl Text {
    pub(super) const fn new() -> Self {
        Self { len: 0, short: [0; SHORT], long: String::new() }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        if self.is_short() { &self.short[..self.len] } else { self.long.as_bytes() }
    }

    pub(crate) fn as_str(&self) -> &str {
        if self.is_short() {
            std::str::from_utf8(&self.short[..self.len]).expect("whole characters are put in and taken out")
        } else {
            &self.long
        }
    }

    pub(super) fn into_string(self) -> String {
        if self.is_short() { self.as_str().to_owned() } else { self.long }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        if self.is_short() { self.len } else { self.long.len() }
    }

    #[inline]
    fn is_short(&self) -> bool {
        self.long.is_empty()
    }

    #[inline]
    pub(super) fn push_str(&mut self, more: &str) {
        if !self.fits(more.as_bytes()) {
            self.on_the_heap(more.len()).push_str(more);
        }
    }

    /// Appends whole characters of another text.
    #[inline]
    pub(super) fn push_part(&mut self, of_text: &[u8]) {
        if !self.fits(of_text) {
            let part = std::str::from_utf8(of_text).expect("whole characters of a text");
            self.on_the_heap(part.len()).push_str(part);
        }
    }

    /// Appends in place, if there is room.
    #[inline]
    fn fits(&mut self, more: &[u8]) -> bool {
        if self.is_short()
            && let Some(room) = self.short[self.len..].get_mut(..more.len())
        {
            room.copy_from_slice(more);
            self.len += more.len();
            return true;
        }
        false
    }

    /// Appends the first `count` bytes of a word, which are ASCII; the first byte is the lowest.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "most of a key is written here, and a call costs as much as the work")]
    pub(super) fn push_word(&mut self, word: u64, count: usize) {
        // The whole word is written, so that it takes one store of a known size; what is beyond `count` is overwritten or never
        // looked at.
        if self.is_short()
            && let Some(room) = self.short.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut::<8>)
        {
            *room = word.to_le_bytes();
            self.len += count;
            return;
        }
        self.push_word_slowly(word, count);
    }

    #[cold]
    fn push_word_slowly(&mut self, word: u64, count: usize) {
        self.push_str(std::str::from_utf8(&word.to_le_bytes()[..count]).expect("ASCII"));
    }

    #[inline]
    pub(super) fn push(&mut self, c: char) {
        self.push_str(c.encode_utf8(&mut [0; 4]));
    }

    pub(super) fn insert(&mut self, at: usize, c: char) {
        self.on_the_heap(0).insert(at, c);
    }

    pub(super) fn truncate(&mut self, to: usize) {
        if self.is_short() {
            self.len = self.len.min(to);
        } else {
            self.long.truncate(to);
        }
    }

    #[cold]
    fn on_the_heap(&mut self, more: usize) -> &mut String {
        if self.is_short() {
            self.long.reserve((self.len + more).max(2 * SHORT));
            let short = std::str::from_utf8(&self.short[..self.len]);
            self.long.push_str(short.expect("whole characters are put in and taken out"));
            self.len = 0;
        }
        &mut self.long
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { long: text, ..Self::new() }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for Text {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_from_one_place_into_the_other_and_stays_the_same_text() {
        let mut text = Text::new();
        let mut expected = String::new();
        for round in 0..40 {
            text.push('é');
            text.push_word(u64::from_le_bytes(*b"1234567\xff"), 7);
            expected.push_str("é1234567");
            text.push_str("ab");
            expected.push_str("ab");
            assert_eq!((text.as_str(), text.len()), (expected.as_str(), expected.len()), "round {round}");
        }
        text.truncate(11);
        text.insert(2, '~');
        assert_eq!(text.as_str(), "é~1234567ab");
        assert_eq!(text, Text::from("é~1234567ab".to_owned()));
        text.truncate(0);
        assert_eq!((text.as_str(), text.len()), ("", 0));
        text.push_str("again");
        assert_eq!(text.as_str(), "again");
    }

    #[test]
    fn what_is_long_from_the_start_fits_too() {
        for len in [SHORT - 9, SHORT - 8, SHORT - 7, SHORT - 1, SHORT, SHORT + 1, 300] {
            let mut text = Text::new();
            text.push_str(&"x".repeat(len));
            text.push_word(u64::from_le_bytes(*b"12345678"), 8);
            assert_eq!(text.as_str(), "x".repeat(len) + "12345678", "{len}");
            let mut text = Text::new();
            text.push_str(&"x".repeat(len));
            text.insert(0, 'y');
            assert_eq!(text.as_str(), "y".to_owned() + &"x".repeat(len), "{len}");
        }
    }
}
