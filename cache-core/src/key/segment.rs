//! One segment of a key while it is being written.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{KeyPart, MAX_SEGMENT};

/// Receives the encoding of one [`KeyPart`].
///
/// Implementations of [`KeyPart`] call exactly one of its methods; [`Segment::sequence`] and [`Segment::variant`] take
/// the parts of a compound value.
#[derive(Debug)]
pub struct Segment<'a> {
    out: &'a mut String,
    kinds_apart: bool,
}

impl<'a> Segment<'a> {
    pub(super) fn new(out: &'a mut String) -> Self {
        Self { out, kinds_apart: false }
    }

    pub(super) fn tell_kinds_apart(&mut self) {
        self.kinds_apart = true;
    }

    /// Text, escaped.
    pub fn text(&mut self, text: &str) {
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
        write!(Escaped(self.out), "{number}").expect("writing to a String succeeds");
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
            value.encode(&mut self.reborrow());
            self.out.push(')');
            return;
        }
        let start = self.out.len();
        value.encode(&mut self.reborrow());
        if self.out[start..].starts_with('~') {
            self.out.insert(start, '~');
        }
    }

    /// A tuple, slice or struct: `(a,b)`.
    pub fn sequence(&mut self, items: impl FnOnce(&mut Sequence<'_>)) {
        self.out.push('(');
        let kinds_apart = self.kinds_apart;
        items(&mut Sequence { segment: Segment { out: self.out, kinds_apart }, first: true });
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

    /// A value of a type of its own, by the type's full name. Where the caller of a generic function chooses the type of
    /// an argument, the name is written (`.app.UserId(7)`), since `UserId(7)` and `OrderId(7)` must not be one key there.
    #[doc(hidden)]
    pub fn of_type(&mut self, name: &str, value: impl FnOnce(&mut Segment<'_>)) {
        if !self.kinds_apart {
            return value(self);
        }
        self.unit_variant(&name.replace("::", "."));
        self.out.push('(');
        value(self);
        self.out.push(')');
    }

    fn reborrow(&mut self) -> Segment<'_> {
        Segment { out: self.out, kinds_apart: self.kinds_apart }
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
        item.encode(&mut self.segment.reborrow());
        self
    }
}

/// Replaces the segment that begins at `start` by its digest if it is too long.
pub(super) fn shorten(path: &mut String, start: usize) {
    if path.len() - start <= MAX_SEGMENT {
        return;
    }
    let digest = Sha256::digest(&path.as_bytes()[start..]);
    path.truncate(start);
    path.push('!');
    for byte in digest {
        write!(path, "{byte:02x}").expect("writing to a String succeeds");
    }
}

/// Appends `text` with everything escaped that has a meaning in keys or globs, or cannot be read.
pub(super) fn escape(out: &mut String, text: &str) {
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

fn escape_byte(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

pub(super) fn stands_for_itself(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '/' | '+' | '=') || c >= '\u{a0}'
}

fn reads_as_another_kind(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'))
}

struct Escaped<'a>(&'a mut String);

impl std::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}
