//! What an invalidation hits.

use super::Tag;

/// What an invalidation hits. Paths are encoded and without namespace; [`Key`](super::Key) makes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// One entry.
    Entry(String),
    /// A node: every entry below this path, and the entry at it.
    Node(String),
    /// Every entry that carries the tag.
    Tag(Tag),
    /// Every entry whose encoded path matches a glob of `*`, `?`, `[a-z]` and `\`-escapes, as in Redis.
    Glob(String),
    /// The whole namespace.
    All,
}

impl Target {
    /// Whether it can be quarantined: an entry, a node or a tag, which have a place of their own in a store.
    pub fn can_be_held(&self) -> bool {
        matches!(self, Self::Entry(_) | Self::Node(_) | Self::Tag(_))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entry(path) => f.write_str(path),
            Self::Node(path) => write!(f, "{path}:.."),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Glob(glob) => write!(f, "glob {glob}"),
            Self::All => f.write_str("everything"),
        }
    }
}
