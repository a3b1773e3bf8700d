//! Keys: paths that name one entry, and the nodes above it.
//!
//! A key is `prefix:arg:arg…`. Every leading part of it is a *node*; invalidating a node invalidates all
//! below it. The encoding is injective and readable:
//!
//! - Segments are joined by `:`. Text keeps ASCII letters and digits, `-_.@/+=` and everything from U+00A0 on as
//!   it is; every other byte, the separator and the glob characters among them, becomes `%XX`.
//! - The empty text is `''`, `None` is `~`, and `Some` is its content (with one `~` in front where the content
//!   begins with `~` itself). Tuples, slices and structs are `(a,b)`, enum variants `Name` or `Name(a,b)`.
//! - A segment longer than [`MAX_SEGMENT`] bytes becomes `!` and the SHA-256 of its encoding in hex.
//!
//! The namespace is not part of a [`Key`]: a store puts it in front.

mod decode;
mod foreign;
mod part;
mod path;
mod segment;
mod tag;
mod target;
mod text;

pub use decode::{Decoded, NotAKey, decode};
pub use part::KeyPart;
pub(crate) use path::{Known, Path, hash_of};
pub use segment::{Segment, Sequence};
pub use tag::Tag;
pub use target::Target;

use smallvec::SmallVec;

use crate::stats::Slot;

/// The longest segment, in bytes of its encoding, that is kept as it is.
pub const MAX_SEGMENT: usize = 128;

/// The separator between the segments of a key.
pub const SEPARATOR: char = ':';

/// The same in an encoded path.
const SEPARATOR_BYTE: u8 = b':';

/// The key of one cache entry: where it lies, which nodes are above it, which tags it carries.
///
/// ```
/// use cache_core::Key;
///
/// let key = Key::new("contract_page").arg(&7).arg(&"a:b");
/// assert_eq!(key.as_str(), "contract_page:7:a%3Ab");
/// assert_eq!(key.nodes().collect::<Vec<_>>(), ["contract_page", "contract_page:7"]);
/// ```
#[derive(Clone)]
pub struct Key {
    path: Path,
    tags: SmallVec<[Tag; 1]>,
    /// Where the function's counters are; no part of what the key names.
    slot: Slot,
}

impl Key {
    /// A key of no arguments under `prefix`, which is escaped like any segment.
    pub fn new(prefix: &str) -> Self {
        Self { path: Path::of_prefix(prefix), tags: SmallVec::new(), slot: Slot::NONE }
    }

    /// The key of a path that was encoded before, as [`Key::as_str`] gave it: without tags, which are not in it.
    ///
    /// # Errors
    ///
    /// [`NotAKey`] if no key encodes to that text.
    pub fn of_encoded(path: &str) -> Result<Self, NotAKey> {
        decode(path)?;
        Ok(Self { path: Path::of_encoded(path.to_owned()), tags: SmallVec::new(), slot: Slot::NONE })
    }

    /// Adds an argument as the next segment.
    #[must_use]
    pub fn arg<A: KeyPart + ?Sized>(mut self, arg: &A) -> Self {
        self.add_arg(arg);
        self
    }

    /// [`Key::arg`] in place.
    #[inline]
    pub(crate) fn add_arg<A: KeyPart + ?Sized>(&mut self, arg: &A) {
        self.path.push(|segment| arg.encode(segment));
    }

    /// Adds an argument whose type is chosen by the caller of a generic function, so that equal keys need values of
    /// the same kind: the number 7 and the text `7` differ here.
    #[doc(hidden)]
    #[must_use]
    pub fn arg_of_any_type<A: KeyPart + ?Sized>(mut self, arg: &A) -> Self {
        self.add_arg_of_any_type(arg);
        self
    }

    /// [`Key::arg_of_any_type`] in place.
    pub(crate) fn add_arg_of_any_type<A: KeyPart + ?Sized>(&mut self, arg: &A) {
        self.path.push(|segment| {
            segment.tell_kinds_apart();
            segment.value(arg);
        });
    }

    /// Adds a label. An entry may carry several; invalidating any of them invalidates the entry.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Adds an empty label, to be written.
    pub(crate) fn add_tag(&mut self) -> &mut Tag {
        let at = self.tags.len();
        self.tags.push(Tag::EMPTY);
        &mut self.tags[at]
    }

    /// Adds a label of fixed text, then of segments of this key, counted from the last, each with the text after it.
    pub(crate) fn add_tag_of_segments(&mut self, text: &str, rest: &[(usize, &str)]) {
        let Self { path, tags, .. } = self;
        let at = tags.len();
        tags.push(Tag::EMPTY);
        let tag = &mut tags[at];
        tag.add_text(text);
        for (back, after) in rest {
            tag.add_segment(segment_from_end(path.as_bytes(), *back));
            tag.add_text(after);
        }
    }

    /// The encoded path, without a namespace.
    pub fn as_str(&self) -> &str {
        self.path.as_str()
    }

    #[inline]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// The encoded first segment.
    pub fn prefix(&self) -> &str {
        let path = self.as_str();
        path.split_once(SEPARATOR).map_or(path, |(prefix, _)| prefix)
    }

    /// How many arguments the key has.
    pub fn len(&self) -> usize {
        separators(self.as_str())
    }

    /// Whether the key has no arguments.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nodes above the entry, outermost first: every proper leading part, and for a key without arguments the
    /// prefix itself.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        // No segment holds a separator.
        Nodes { path: self.as_str(), from: 0, left: self.len().max(1) }
    }

    /// The entry's labels.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// This very entry as the target of an invalidation.
    pub fn into_entry(self) -> Target {
        Target::Entry(self.path.into_string())
    }

    /// The node that this key's path names, with everything below it, as the target of an invalidation.
    pub fn into_node(self) -> Target {
        Target::Node(self.path.into_string())
    }
}

/// Where the keys of a cached function begin.
#[doc(hidden)]
#[derive(Debug)]
pub struct Start {
    path: Path,
    slot: Slot,
}

impl Start {
    /// At a prefix, which is escaped like any segment.
    pub(crate) fn of_prefix(prefix: &str, slot: Slot) -> Self {
        Self { path: Path::of_prefix(prefix), slot }
    }

    /// After one more segment.
    pub(crate) fn with_segment(&self, segment: &str) -> Self {
        let mut path = self.path.clone();
        path.push(|to| to.text(segment));
        Self { path, slot: self.slot }
    }

    /// The encoded first segment.
    pub(crate) fn prefix(&self) -> &str {
        let path = self.path.as_str();
        path.split_once(SEPARATOR).map_or(path, |(prefix, _)| prefix)
    }

    /// A key of no arguments.
    #[inline]
    pub(crate) fn key(&self) -> Key {
        Key { path: self.path.clone(), tags: SmallVec::new(), slot: self.slot }
    }
}

/// The segment that so many others come after; nothing if there are fewer.
fn segment_from_end(mut path: &[u8], mut back: usize) -> &[u8] {
    loop {
        let start = path.iter().rposition(|byte| *byte == SEPARATOR_BYTE);
        match (start, back.checked_sub(1)) {
            (at, None) => return &path[at.map_or(0, |at| at + 1)..],
            (None, Some(_)) => return &[],
            (Some(at), Some(less)) => (path, back) = (&path[..at], less),
        }
    }
}

fn separators(path: &str) -> usize {
    path.matches(SEPARATOR).count()
}

/// The leading parts of a path that end where a segment does.
struct Nodes<'a> {
    path: &'a str,
    from: usize,
    left: usize,
}

impl<'a> Iterator for Nodes<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        let end = self.path[self.from..].find(SEPARATOR).map_or(self.path.len(), |at| self.from + at);
        self.from = end + 1;
        Some(&self.path[..end])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Nodes<'_> {}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.tags == other.tags
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.path.as_bytes().hash(state);
        self.tags.hash(state);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("path", &self.path).field("tags", &self.tags).finish_non_exhaustive()
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
