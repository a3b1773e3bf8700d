//! One segment of a key while it is being written.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{KeyPart, MAX_SEGMENT, SEPARATOR_BYTE, path, text::Text};

/// Receives the encoding of one [`KeyPart`].
///
/// Implementations of [`KeyPart`] call exactly one of its methods; [`Segment::sequence`] and [`Segment::variant`] take
/// the parts of a compound value.
#[derive(Debug)]
pub struct Segment<'a> {
    out: &'a mut Text,
    kinds_apart: bool,
    quick: Quick,
}

/// The hash of a path with this segment, where the segment came in one piece.
#[derive(Clone, Copy, Debug)]
struct Quick {
    /// Where the segment begins.
    start: usize,
    /// The hash of the path before it.
    before: u64,
    /// Where the piece ends, and the hash with it; the piece is all of the segment if nothing came after.
    piece: Option<(usize, u64)>,
}

impl<'a> Segment<'a> {
    /// A segment at the end of `out`.
    #[inline]
    pub(super) fn hashing(out: &'a mut Text, before: u64) -> Self {
        let quick = Quick { start: out.len(), before, piece: None };
        Self { out, kinds_apart: false, quick }
    }

    pub(super) fn new(out: &'a mut Text) -> Self {
        Self::hashing(out, 0)
    }

    /// The hash of the path with this segment, if the segment came in one piece.
    #[inline]
    pub(super) fn hash(&self) -> Option<u64> {
        self.quick.piece.filter(|(end, _)| *end == self.out.len()).map(|(_, hash)| hash)
    }

    pub(super) fn tell_kinds_apart(&mut self) {
        self.kinds_apart = true;
    }

    /// Text, escaped.
    #[inline]
    pub fn text(&mut self, text: &str) {
        if !self.kinds_apart && !text.is_empty() && text.bytes().all(|byte| PLAIN[usize::from(byte)]) {
            return self.plain(text.as_bytes(), text);
        }
        self.escaped(text);
    }

    fn escaped(&mut self, text: &str) {
        if text.is_empty() {
            self.out.push_str("''");
            return;
        }
        let mut rest = text;
        if self.kinds_apart && reads_as_another_kind(text) {
            escape_byte(self.out, text.as_bytes()[0]);
            rest = &text[1..];
        }
        escape(self.out, rest);
    }

    /// A number, or anything else whose `Display` is made of digits, letters, `-`, `.` and `+` only.
    ///
    /// Whatever else it writes is escaped, so a wrong use costs readability, not uniqueness.
    pub fn number(&mut self, number: impl std::fmt::Display) {
        let start = self.out.len();
        write!(Escaped(self.out), "{number}").expect("writing to memory succeeds");
        // A UUID may begin with a letter, a span with a `P`: the text that looks the same must not be the same.
        if self.kinds_apart && !reads_as_another_kind(&self.out.as_str()[start..]) {
            self.out.insert(start, '+');
        }
    }

    /// A whole number. As [`Segment::number`], and quicker.
    #[inline]
    pub(super) fn integer(&mut self, number: u64) {
        if let Ok(number) = u32::try_from(number)
            && number < 10_000_000
        {
            let (digits, count) = digits(number);
            return self.piece(digits, count);
        }
        self.digits_of(number);
    }

    fn digits_of(&mut self, number: u64) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number);
        self.plain(digits.as_bytes(), digits);
    }

    /// Text that stands for itself.
    #[inline]
    fn plain(&mut self, bytes: &[u8], text: &str) {
        if bytes.len() < 8 {
            return self.piece(path::short_word(bytes), bytes.len());
        }
        let is_first = self.out.len() == self.quick.start && bytes.len() <= path::LONGEST;
        self.out.push_str(text);
        if is_first {
            self.quick.piece = Some((self.out.len(), path::fold(self.quick.before, bytes)));
        }
    }

    /// Fewer than eight bytes of plain text, as a word.
    #[inline]
    fn piece(&mut self, word: u64, count: usize) {
        let is_first = self.out.len() == self.quick.start;
        self.out.push_word(word, count);
        if is_first {
            self.quick.piece = Some((self.out.len(), path::fold_rest(self.quick.before, word, count)));
        }
    }

    /// The absence of a value.
    pub fn none(&mut self) {
        self.out.push('~');
    }

    /// The presence of a value, distinct from [`Segment::none`] whatever the value is.
    pub fn some<T: KeyPart + ?Sized>(&mut self, value: &T) {
        if self.kinds_apart {
            // `7` and `Some(7)` are of two types.
            self.out.push_str(".Option.Some(");
            self.value(value);
            self.out.push(')');
            return;
        }
        let start = self.out.len();
        self.value(value);
        if self.out.as_bytes().get(start) == Some(&b'~') {
            self.out.insert(start, '~');
        }
    }

    /// A tuple, slice or struct: `(a,b)`.
    pub fn sequence(&mut self, items: impl FnOnce(&mut Sequence<'_>)) {
        self.out.push('(');
        let (kinds_apart, quick) = (self.kinds_apart, self.quick);
        items(&mut Sequence { segment: Segment { out: self.out, kinds_apart, quick }, first: true });
        self.out.push(')');
    }

    /// An enum variant without fields.
    pub fn unit_variant(&mut self, name: &str) {
        if self.kinds_apart {
            self.out.push('.');
        }
        escape(self.out, name);
    }

    /// An enum variant with fields: `Name(a,b)`.
    pub fn variant(&mut self, name: &str, fields: impl FnOnce(&mut Sequence<'_>)) {
        self.unit_variant(name);
        self.sequence(fields);
    }

    /// A value inside another one.
    ///
    /// Where the caller of a generic function chooses the type of an argument, a type that is not of the standard library
    /// is written by its name (`.app.UserId(7)`): `UserId(7)` and `OrderId(7)` must not be one key there, whoever wrote
    /// their `KeyPart`.
    #[inline]
    pub(super) fn value<T: KeyPart + ?Sized>(&mut self, value: &T) {
        if !self.kinds_apart {
            return value.encode(self);
        }
        let Some(name) = own_name(std::any::type_name::<T>()) else { return value.encode(self) };
        self.unit_variant(&name.replace("::", "."));
        self.out.push('(');
        value.encode(self);
        self.out.push(')');
    }
}

/// Receives the parts of a compound value.
#[derive(Debug)]
pub struct Sequence<'a> {
    segment: Segment<'a>,
    first: bool,
}

impl Sequence<'_> {
    /// The next part.
    pub fn item<T: KeyPart + ?Sized>(&mut self, item: &T) -> &mut Self {
        if !std::mem::replace(&mut self.first, false) {
            self.segment.out.push(',');
        }
        self.segment.value(item);
        self
    }
}

/// Replaces the segment that begins at `start` by its digest if it is too long.
pub(super) fn shorten(path: &mut Text, start: usize) {
    if path.len() - start <= MAX_SEGMENT {
        return;
    }
    let digest = Sha256::digest(&path.as_bytes()[start..]);
    path.truncate(start);
    path.push('!');
    for byte in digest {
        write!(path, "{byte:02x}").expect("writing to memory succeeds");
    }
}

/// Appends `text` with everything escaped that has a meaning in keys or globs, or cannot be read.
pub(super) fn escape(out: &mut Text, text: &str) {
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        if stands_for_itself(c) {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + c.len_utf8();
        for byte in &text.as_bytes()[at..plain] {
            escape_byte(out, *byte);
        }
    }
    out.push_str(&text[plain..]);
}

fn escape_byte(out: &mut Text, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

/// The decimal digits of a number of at most seven, as a word, and how many they are: all at once, since a loop that ends now
/// here and now there is what a processor cannot foresee.
#[inline]
fn digits(number: u32) -> (u64, usize) {
    // Two halves of four digits, each split in two and two, each split in one and one; the multiplications divide by 100 and 10.
    let halves = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (halves - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    let all = tens | (pairs - tens * 10) << 8;
    // The last digit stays even where it is a zero.
    let zeros = (all | 1 << 63).trailing_zeros() & !7;
    ((all | 0x3030_3030_3030_3030) >> zeros, 8 - (zeros as usize / 8))
}

/// Which bytes stand for themselves, of those that are characters.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@' | b'/' | b'+' | b'=');
        byte += 1;
    }
    plain
};

/// Whether nothing in a text is escaped where separators separate.
#[inline]
pub(super) fn is_plain_path(text: &str) -> bool {
    text.bytes().all(|byte| PLAIN[usize::from(byte)] || byte == SEPARATOR_BYTE)
}

pub(super) fn stands_for_itself(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '/' | '+' | '=') || c >= '\u{a0}'
}

fn reads_as_another_kind(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'))
}

/// The name of a type that has a kind of its own: neither a reference, nor of the standard library, nor of a crate whose
/// types tell themselves apart by what they write (an instant is the same in any zone).
fn own_name(name: &str) -> Option<&str> {
    const BY_VALUE: [&str; 7] = ["alloc::", "core::", "std::", "uuid::", "chrono::", "jiff::", "time::"];
    let is_path = name.starts_with(|first: char| first.is_alphabetic() || first == '_') && name.contains("::");
    (is_path && !BY_VALUE.iter().any(|library| name.starts_with(library))).then_some(name)
}

struct Escaped<'a>(&'a mut Text);

impl std::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Key, Tag, hash_of};

    #[test]
    fn all_digits_come_out() {
        let step = if cfg!(miri) { 99_991 } else { 7 };
        for number in (0..10_000_000).step_by(step).chain((0..8).map(|n| 10_u32.pow(n).min(10_000_000) - 1)) {
            let (word, count) = digits(number);
            assert_eq!(&word.to_le_bytes()[..count], number.to_string().as_bytes());
            assert_eq!(
                word.checked_shr(8 * u32::try_from(count).expect("small")).unwrap_or(0),
                0,
                "{number}: nothing beyond"
            );
        }
    }

    #[test]
    fn a_table_and_a_rule_agree() {
        for byte in 0..=127_u8 {
            assert_eq!(PLAIN[usize::from(byte)], stands_for_itself(char::from(byte)), "{byte}");
        }
    }

    #[test]
    fn the_hash_is_that_of_the_text_whichever_way_it_came_about() {
        let texts =
            ["", "a", "1234567", "12345678", "123456789", "a:b", "~", "é", "%", "0123456789abcdef", &"x".repeat(128)];
        let mut keys = vec![Key::new("p"), Key::new("a prefix"), Key::new("")];
        for text in texts.into_iter().chain([&*"y".repeat(129), &*"z:".repeat(70)]) {
            let key = Key::new("p").arg(text);
            keys.extend([
                key.clone().arg(text).arg(&7_u64),
                key.clone().arg(&Some(text)).arg(&(text, 7)),
                key.clone().arg_of_any_type(text).arg_of_any_type(&7),
                key.clone().arg(&text.chars().next()).arg(&[text, text]).tag(Tag::new("t")),
                key,
            ]);
        }
        for number in [0, 1, 9, 10, 99, 100, 9_999_999, 10_000_000, 99_999_999, 100_000_000, u64::MAX] {
            let signed = i64::try_from(number).unwrap_or(i64::MAX);
            keys.extend([
                Key::new("p").arg(&number),
                Key::new("p").arg(&signed),
                Key::new("p").arg(&-signed).arg(&Some(number)),
                Key::new("p").arg_of_any_type(&number).arg_of_any_type(&-signed),
                Key::new("p").arg(&number.to_string()),
            ]);
            assert_eq!(Key::new("p").arg(&number).as_str(), format!("p:{number}"));
            assert_eq!(Key::new("p").arg(&-signed).as_str(), format!("p:{}", -signed));
        }
        for key in keys {
            assert_eq!(key.path().hash(), hash_of(key.as_str()), "{key}");
        }
    }
}
