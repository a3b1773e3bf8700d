//! Tags: labels that cut across prefixes.

use super::{KeyPart, SEPARATOR, Segment, segment, text::Text};

/// A label that entries of any function may share, such as `owner:7`.
///
/// ```
/// use cache_core::Tag;
///
/// assert_eq!(Tag::new("owner:").arg(&7).as_str(), "owner:7");
/// assert_eq!(Tag::new("owner:").arg(&"a:b").as_str(), "owner:a%3Ab");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Text);

impl Tag {
    /// To be written.
    pub(crate) const EMPTY: Self = Self(Text::new());

    /// A tag of fixed text. `:` separates here as in keys; what would not be readable is escaped.
    pub fn new(text: &str) -> Self {
        Self(Text::new()).text(text)
    }

    /// Appends fixed text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.add_text(text);
        self
    }

    /// [`Tag::text`] in place.
    pub(crate) fn add_text(&mut self, text: &str) {
        for (index, piece) in text.split(SEPARATOR).enumerate() {
            if index > 0 {
                self.0.push(SEPARATOR);
            }
            segment::escape(&mut self.0, piece);
        }
    }

    /// Appends an argument, encoded like a segment of a key.
    #[must_use]
    pub fn arg<A: KeyPart + ?Sized>(mut self, arg: &A) -> Self {
        self.add_arg(arg);
        self
    }

    /// [`Tag::arg`] in place.
    #[inline]
    pub(crate) fn add_arg<A: KeyPart + ?Sized>(&mut self, arg: &A) {
        let start = self.0.len();
        arg.encode(&mut Segment::new(&mut self.0));
        segment::shorten(&mut self.0, start);
    }

    /// Appends what is encoded already.
    pub(super) fn add_encoded(&mut self, segment: &str) {
        self.0.push_str(segment);
    }

    /// A tag that was encoded before, as [`Tag::as_str`] gave it.
    #[doc(hidden)]
    pub fn from_encoded(text: String) -> Self {
        Self(text.into())
    }

    /// The encoded tag.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
