//! Reading an encoded path back, for tools and tests.

use std::fmt;

use super::{MAX_SEGMENT, SEPARATOR};

/// A part of a key as far as the encoding tells. Types are not part of it: the number 7, the text `7` and `Some(7)` read
/// the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decoded {
    /// `None`.
    None,
    /// A `Some` that the encoding shows: around a `None`, however deep.
    Some(Box<Decoded>),
    /// Text, a number, a variant without fields.
    Text(String),
    /// A tuple, slice or struct.
    Sequence(Vec<Decoded>),
    /// A variant with fields.
    Variant(String, Vec<Decoded>),
    /// What was too long: the SHA-256 of its encoding, in hex.
    Digest(String),
}

impl fmt::Display for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Self]| {
            f.write_str("(")?;
            for (index, item) in items.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                item.fmt(f)?;
            }
            f.write_str(")")
        };
        match self {
            Self::None => f.write_str("None"),
            Self::Some(content) => write!(f, "Some({content})"),
            Self::Text(text) => f.write_str(text),
            Self::Sequence(items) => list(f, items),
            Self::Variant(name, items) => {
                f.write_str(name)?;
                list(f, items)
            }
            Self::Digest(hex) => write!(f, "sha256:{hex}"),
        }
    }
}

/// The text is not the path of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a key: segment {segment} is malformed at byte {at}")]
pub struct NotAKey {
    /// Which segment, from 0 (the prefix).
    pub segment: usize,
    /// Where in the segment, in bytes.
    pub at: usize,
}

/// Reads the path of a key (without namespace), the prefix first.
///
/// ```
/// use cache_core::{Key, key};
///
/// let key = Key::new("page").arg(&"a:b").arg(&(7, None::<i32>));
/// let parts = key::decode(key.as_str())?;
/// let readable: Vec<_> = parts.iter().map(ToString::to_string).collect();
/// assert_eq!(readable, ["page", "a:b", "(7, None)"]);
/// # Ok::<(), key::NotAKey>(())
/// ```
///
/// # Errors
///
/// [`NotAKey`] if no key encodes to that text, as far as can be told without the types.
pub fn decode(path: &str) -> Result<Vec<Decoded>, NotAKey> {
    path.split(SEPARATOR).enumerate().map(|(index, text)| segment(index, text)).collect()
}

fn segment(index: usize, text: &str) -> Result<Decoded, NotAKey> {
    let malformed = |at| NotAKey { segment: index, at };
    let is_digest = |hex: &&str| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if let Some(hex) = text.strip_prefix('!').filter(is_digest) {
        return Ok(Decoded::Digest(hex.to_owned()));
    }
    // Longer ones are digests. That also bounds the nesting.
    if text.len() > MAX_SEGMENT {
        return Err(malformed(MAX_SEGMENT));
    }
    let mut reader = Reader { text, at: 0 };
    match reader.value() {
        Some(value) if reader.at == text.len() => Ok(value),
        _ => Err(malformed(reader.at)),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self) -> Option<Decoded> {
        if self.take("~") {
            // Each further `~` is a `Some` around it.
            let mut value = Decoded::None;
            while self.take("~") {
                value = Decoded::Some(Box::new(value));
            }
            return Some(value);
        }
        if self.take("''") {
            return Some(Decoded::Text(String::new()));
        }
        if self.take("(") {
            return self.items().map(Decoded::Sequence);
        }
        let text = self.characters()?;
        if self.take("(") { self.items().map(|items| Decoded::Variant(text, items)) } else { Some(Decoded::Text(text)) }
    }

    fn items(&mut self) -> Option<Vec<Decoded>> {
        let mut items = Vec::new();
        if self.take(")") {
            return Some(items);
        }
        loop {
            items.push(self.value()?);
            if self.take(")") {
                return Some(items);
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    /// One character or more, unescaped.
    fn characters(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        while let Some(c) = self.rest().chars().next() {
            if c == '%' {
                let hex = self.rest().get(1..3)?;
                if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')) {
                    return None;
                }
                bytes.push(u8::from_str_radix(hex, 16).ok()?);
                self.at += 3;
            } else if super::segment::stands_for_itself(c) {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                self.at += c.len_utf8();
            } else {
                break;
            }
        }
        if bytes.is_empty() { None } else { String::from_utf8(bytes).ok() }
    }
}
