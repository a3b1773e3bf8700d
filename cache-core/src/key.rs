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
mod segment;
mod tag;
mod target;

pub use decode::{Decoded, NotAKey, decode};
pub use part::KeyPart;
pub use segment::{Segment, Sequence};
pub use tag::Tag;
pub use target::Target;

/// The longest segment, in bytes of its encoding, that is kept as it is.
pub const MAX_SEGMENT: usize = 128;

/// The separator between the segments of a key.
pub const SEPARATOR: char = ':';

/// The key of one cache entry: where it lies, which nodes are above it, which tags it carries.
///
/// ```
/// use cache_core::Key;
///
/// let key = Key::new("contract_page").arg(&7).arg(&"a:b");
/// assert_eq!(key.as_str(), "contract_page:7:a%3Ab");
/// assert_eq!(key.nodes().collect::<Vec<_>>(), ["contract_page", "contract_page:7"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    path: String,
    /// Where the segments end in `path`, the prefix first.
    ends: Vec<u32>,
    tags: Vec<Tag>,
}

impl Key {
    /// A key of no arguments under `prefix`, which is escaped like any segment.
    pub fn new(prefix: &str) -> Self {
        let mut key = Self { path: String::with_capacity(48), ends: Vec::with_capacity(4), tags: Vec::new() };
        key.push(|segment| segment.text(prefix));
        key
    }

    /// Adds an argument as the next segment.
    #[must_use]
    pub fn arg<A: KeyPart + ?Sized>(mut self, arg: &A) -> Self {
        self.push(|segment| arg.encode(segment));
        self
    }

    /// Adds an argument whose type is chosen by the caller of a generic function, so that equal keys need values of
    /// the same kind: the number 7 and the text `7` differ here.
    #[doc(hidden)]
    #[must_use]
    pub fn arg_of_any_type<A: KeyPart + ?Sized>(mut self, arg: &A) -> Self {
        self.push(|segment| {
            segment.tell_kinds_apart();
            segment.value(arg);
        });
        self
    }

    /// Adds a label. An entry may carry several; invalidating any of them invalidates the entry.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// The encoded path, without a namespace.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The encoded first segment.
    pub fn prefix(&self) -> &str {
        &self.path[..self.ends[0] as usize]
    }

    /// How many arguments the key has.
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Whether the key has no arguments.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nodes above the entry, outermost first: every proper leading part, and for a key without arguments the
    /// prefix itself.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        self.ends[..self.len().max(1)].iter().map(|&end| &self.path[..end as usize])
    }

    /// The entry's labels.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// This very entry as the target of an invalidation.
    pub fn into_entry(self) -> Target {
        Target::Entry(self.path)
    }

    /// The node that this key's path names, with everything below it, as the target of an invalidation.
    pub fn into_node(self) -> Target {
        Target::Node(self.path)
    }

    fn push(&mut self, encode: impl FnOnce(&mut Segment<'_>)) {
        if !self.ends.is_empty() {
            self.path.push(SEPARATOR);
        }
        let start = self.path.len();
        encode(&mut Segment::new(&mut self.path));
        segment::shorten(&mut self.path, start);
        self.ends.push(u32::try_from(self.path.len()).expect("a key is shorter than 4 GiB"));
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)
    }
}
