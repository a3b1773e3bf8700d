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
    #[inline]
    pub(crate) fn add_text(&mut self, text: &str) {
        if segment::is_plain_path(text) {
            return self.0.push_str(text);
        }
        self.add_escaped(text);
    }

    fn add_escaped(&mut self, text: &str) {
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

    /// Appends a segment of a key, which is encoded already.
    pub(super) fn add_segment(&mut self, segment: &[u8]) {
        self.0.push_part(segment);
    }

    /// A tag that was encoded before, as [`Tag::as_str`] gave it.
    #[doc(hidden)]
    pub fn from_encoded(text: String) -> Self {
        Self(text.into())
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    #[test]
    fn a_tag_of_segments_is_the_tag_of_the_arguments() {
        let long = "l".repeat(200);
        for one in ["", "a", "a:b", "é %", &long, &long[..90]] {
            for other in [0_u64, 7, u64::MAX] {
                let mut key = Key::new("p").arg(one).arg(&other);
                key.add_tag_of_segments("x y:", &[(0, ":é:"), (1, "")]);
                key.add_tag_of_segments("plain:", &[(1, ":z"), (2, "")]);
                let tags = [
                    Tag::new("x y:").arg(&other).text(":é:").arg(one),
                    Tag::new("plain:").arg(one).text(":z").arg("p"),
                ];
                assert_eq!(key.tags(), tags);
            }
        }
        let mut key = Key::new("p").arg(&7);
        key.add_tag_of_segments("t:", &[(2, "")]);
        assert_eq!(key.tags(), [Tag::new("t:")], "there is no such segment");
    }

    #[test]
    fn fixed_text_is_escaped_between_its_separators() {
        assert_eq!(Tag::new("a b:c").text(":").text("").text("*").as_str(), "a%20b:c:%2A");
    }
}
