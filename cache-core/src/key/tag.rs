//! Tags: labels that cut across prefixes.

use super::{KeyPart, SEPARATOR, Segment, segment};

/// A label that entries of any function may share, such as `owner:7`.
///
/// ```
/// use cache_core::Tag;
///
/// assert_eq!(Tag::new("owner:").arg(&7).as_str(), "owner:7");
/// assert_eq!(Tag::new("owner:").arg(&"a:b").as_str(), "owner:a%3Ab");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// A tag of fixed text. `:` separates here as in keys; what would not be readable is escaped.
    pub fn new(text: &str) -> Self {
        Self(String::new()).text(text)
    }

    /// Appends fixed text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        for (index, piece) in text.split(SEPARATOR).enumerate() {
            if index > 0 {
                self.0.push(SEPARATOR);
            }
            segment::escape(&mut self.0, piece);
        }
        self
    }

    /// Appends an argument, encoded like a segment of a key.
    #[must_use]
    pub fn arg<A: KeyPart + ?Sized>(mut self, arg: &A) -> Self {
        let start = self.0.len();
        arg.encode(&mut Segment::new(&mut self.0));
        segment::shorten(&mut self.0, start);
        self
    }

    /// A tag that was encoded before, as [`Tag::as_str`] gave it.
    #[doc(hidden)]
    pub fn from_encoded(text: String) -> Self {
        Self(text)
    }

    /// The encoded tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
