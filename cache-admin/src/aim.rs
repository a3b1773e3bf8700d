//! What an operator wants to invalidate, as it is written in a form or as JSON.

use cache_core::{Target, inspect::Naming, key::NotAKey};
use serde::{Deserialize, Serialize};

/// No key is longer than this.
const LONGEST: usize = 4_096;

/// A kind of target, and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aim {
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) target: String,
}

/// How entries are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    #[default]
    Entry,
    Node,
    Tag,
    Glob,
    Function,
    All,
}

/// As the page offers them: what they are called, what they are, and an example.
pub(crate) const KINDS: [(Kind, &str, &str, &str); 6] = [
    (Kind::Entry, "entry", "Entry", "one entry by its key: user:7"),
    (Kind::Node, "node", "Node", "all entries below a path: page:7"),
    (Kind::Tag, "tag", "Tag", "all entries with a tag: owner:7"),
    (Kind::Glob, "glob", "Glob", "all keys that match: page:*:1. Looks at every key of the store"),
    (Kind::Function, "function", "Function", "all entries of a function: page"),
    (Kind::All, "all", "Everything", "the whole cache; no target"),
];

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        KINDS.into_iter().find(|(kind, ..)| *kind == self).map_or("entry", |(_, id, ..)| id)
    }
}

/// Why it is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTarget {
    #[error("say what to invalidate")]
    Empty,
    #[error("that is longer than any key")]
    TooLong,
    #[error("a function is named by the first part of its keys, without a colon; for what is below, take a node")]
    NotAFunction,
    #[error(transparent)]
    NotAKey(#[from] NotAKey),
}

impl Aim {
    pub(crate) fn target(&self) -> Result<Target, NoTarget> {
        let text = self.target.trim();
        if text.len() > LONGEST {
            return Err(NoTarget::TooLong);
        }
        if text.is_empty() && self.kind != Kind::All {
            return Err(NoTarget::Empty);
        }
        Ok(match self.kind {
            Kind::Entry => Naming::Entry.target(text)?,
            // As it is shown, and as it is written.
            Kind::Node => Naming::Node.target(text.strip_suffix(":..").unwrap_or(text))?,
            Kind::Tag => Naming::Tag.target(text.strip_prefix('#').unwrap_or(text))?,
            Kind::Glob => Naming::Glob.target(text)?,
            Kind::Function if text.contains(':') => return Err(NoTarget::NotAFunction),
            Kind::Function => Naming::Node.target(text)?,
            Kind::All => Target::All,
        })
    }

    /// Whether it may hit so much that one more word is asked for.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.kind, Kind::Glob | Kind::Function | Kind::All)
    }
}

#[cfg(test)]
mod tests {
    use cache_core::Tag;

    use super::*;

    fn target(kind: Kind, target: &str) -> Result<Target, NoTarget> {
        Aim { kind, target: target.to_owned() }.target()
    }

    #[test]
    fn a_target_is_what_was_written() {
        assert_eq!(target(Kind::Entry, " user:7 "), Ok(Target::Entry("user:7".into())));
        assert_eq!(target(Kind::Node, "page:7:.."), Ok(Target::Node("page:7".into())));
        assert_eq!(target(Kind::Tag, "#owner:7"), Ok(Target::Tag(Tag::new("owner:").arg(&7))));
        assert_eq!(target(Kind::Function, "page"), Ok(Target::Node("page".into())));
        assert!(matches!(target(Kind::Entry, "a b"), Err(NoTarget::NotAKey(_))));
        assert_eq!(target(Kind::Function, "page:7"), Err(NoTarget::NotAFunction));
        assert_eq!(target(Kind::All, ""), Ok(Target::All));
        assert_eq!(target(Kind::Glob, ""), Err(NoTarget::Empty));
        assert_eq!(target(Kind::Entry, &"x".repeat(5_000)), Err(NoTarget::TooLong));
    }
}
