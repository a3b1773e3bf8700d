//! Key names in Redis: the one place that knows them.
//!
//! `<namespace>:<path>` is an entry, `…#r` the lease beside it, `…#g` the token of the node at that path,
//! `<namespace>:#tag:<tag>#g` a tag's token, `<namespace>:#root` the namespace's. `<namespace>:#reign` is there with
//! sentinels: under which primary's reign the data were good. No encoded path or tag holds a `#`, so
//! they never meet.

use std::io::Write as _;

use cache_core::key::{Key, Target};
use redis::{Cmd, RedisWrite as _};

use crate::reads::Wanted;

const ROOT: &str = "#root";
const REIGN: &str = "#reign";
const NEVER: &str = "#never";
const BESIDE: &str = "#r";
const TOKEN: &str = "#g";
const TAG: &str = "#tag:";

/// Writes the names of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The escaped namespace and the separator.
    prefix: String,
}

impl Names {
    /// The namespace is escaped like a segment of a key, so no namespace covers another.
    pub(crate) fn new(namespace: &str) -> Self {
        Self { prefix: format!("{}:", Key::new(namespace)) }
    }

    /// How many keys [`Names::write_tokens`] writes.
    pub(crate) fn token_count(key: &Key) -> usize {
        1 + key.nodes().len() + key.tags().len()
    }

    /// About how many bytes the entry and its tokens take in a command.
    pub(crate) fn size(&self, key: &Key) -> usize {
        let tags: usize = key.tags().iter().map(|tag| tag.as_str().len() + TAG.len()).sum();
        (1 + Self::token_count(key)) * (self.prefix.len() + 2) + (1 + key.nodes().len()) * key.as_str().len() + tags
    }

    pub(crate) fn write_entry(&self, command: &mut Cmd, key: &Key) {
        self.write(command, &[key.as_str()]);
    }

    pub(crate) fn write_beside(&self, command: &mut Cmd, key: &Key) {
        self.write(command, &[key.as_str(), BESIDE]);
    }

    pub(crate) fn write_root(&self, command: &mut Cmd) {
        self.write(command, &[ROOT]);
    }

    /// The root and the tokens of nodes and tags, in the order in which stamps take them.
    pub(crate) fn write_tokens(&self, command: &mut Cmd, key: &Key) {
        self.write_root(command);
        for node in key.nodes() {
            self.write(command, &[node, TOKEN]);
        }
        for tag in key.tags() {
            self.write(command, &[TAG, tag.as_str(), TOKEN]);
        }
    }

    /// What a read asks for: the entry, then root and tokens.
    pub(crate) fn of_read(&self, key: &Key) -> Wanted {
        let prefix = self.prefix.as_str();
        let mut wanted = Wanted::with_capacity(1 + Self::token_count(key), self.size(key));
        wanted.push(&[prefix, key.as_str()]);
        wanted.push(&[prefix, ROOT]);
        for node in key.nodes() {
            wanted.push(&[prefix, node, TOKEN]);
        }
        for tag in key.tags() {
            wanted.push(&[prefix, TAG, tag.as_str(), TOKEN]);
        }
        wanted
    }

    /// Where the reign is noted that the data are good under.
    pub(crate) fn reign(&self) -> String {
        self.name(&[REIGN])
    }

    /// A key that never exists.
    pub(crate) fn never(&self) -> String {
        self.name(&[NEVER])
    }

    /// The keys whose removal invalidates the target, or the pattern that finds them.
    pub(crate) fn of_target(&self, target: &Target, hits: &mut Hits) {
        match target {
            Target::Entry(path) => hits.keys.extend([self.name(&[path]), self.name(&[path, BESIDE])]),
            Target::Node(path) => {
                hits.keys.extend([self.name(&[path, TOKEN]), self.name(&[path]), self.name(&[path, BESIDE])]);
            }
            Target::Tag(tag) => hits.keys.push(self.name(&[TAG, tag.as_str(), TOKEN])),
            Target::Glob(glob) => hits.globs.push(self.pattern(glob)),
            // A target of a kind that is newer than this store: everything is the safe reading.
            Target::All | _ => hits.keys.push(self.name(&[ROOT])),
        }
    }

    /// The keys that a quarantine of the target stands at; `false` if it has none.
    pub(crate) fn of_hold(&self, target: &Target, keys: &mut Vec<String>) -> bool {
        match target {
            Target::Entry(path) => keys.push(self.name(&[path])),
            Target::Node(path) => keys.extend([self.name(&[path, TOKEN]), self.name(&[path])]),
            Target::Tag(tag) => keys.push(self.name(&[TAG, tag.as_str(), TOKEN])),
            _ => return false,
        }
        true
    }

    fn pattern(&self, glob: &str) -> String {
        let mut pattern = String::with_capacity(self.prefix.len() + glob.len());
        for c in self.prefix.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push_str(glob);
        pattern
    }

    fn name(&self, parts: &[&str]) -> String {
        let mut name = self.prefix.clone();
        name.extend(parts.iter().copied());
        name
    }

    fn write(&self, command: &mut Cmd, parts: &[&str]) {
        let mut name = command.writer_for_next_arg();
        for part in [self.prefix.as_str()].iter().chain(parts) {
            name.write_all(part.as_bytes()).expect("a command is written to memory");
        }
    }
}

/// What a set of targets comes to.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    /// Keys to remove.
    pub(crate) keys: Vec<String>,
    /// Patterns of keys to find and remove.
    pub(crate) globs: Vec<String>,
}

#[cfg(test)]
mod tests {
    use cache_core::Tag;

    use super::*;

    fn hits(namespace: &str, target: &Target) -> Hits {
        let mut hits = Hits::default();
        Names::new(namespace).of_target(target, &mut hits);
        hits
    }

    #[test]
    fn a_node_takes_its_token_and_the_entry_at_its_path() {
        let target = Key::new("page").arg(&7).into_node();
        assert_eq!(hits("shop", &target).keys, ["shop:page:7#g", "shop:page:7", "shop:page:7#r"]);
    }

    #[test]
    fn a_tag_never_meets_a_node_of_the_same_text() {
        let node = Key::new("#tag").arg(&"a").into_node();
        let tag = Target::Tag(Tag::new("a"));
        assert_eq!(hits("shop", &tag).keys, ["shop:#tag:a#g"]);
        assert!(!hits("shop", &node).keys.contains(&"shop:#tag:a#g".to_owned()));
    }

    #[test]
    fn a_namespace_is_escaped_so_that_none_covers_another() {
        assert_eq!(hits("a:*", &Target::All).keys, ["a%3A%2A:#root"]);
        assert_eq!(hits("a", &Target::Glob("x:*".to_owned())).globs, ["a:x:*"]);
        assert_eq!(hits("", &Target::All).keys, ["'':#root"]);
    }

    #[test]
    fn a_read_asks_for_the_entry_then_the_tokens_in_stamp_order() {
        let key = Key::new("page").arg(&7).arg(&1).tag(Tag::new("owner:7"));
        let names = Names::new("shop");
        let mut command = Cmd::new();
        names.write_entry(&mut command, &key);
        names.write_tokens(&mut command, &key);
        let written: Vec<_> = command
            .args_iter()
            .map(|arg| match arg {
                redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                _ => unreachable!("no cursor was written"),
            })
            .collect();
        let expected = ["shop:page:7:1", "shop:#root", "shop:page#g", "shop:page:7#g", "shop:#tag:owner:7#g"];
        assert_eq!(written, expected);
        assert_eq!(Names::token_count(&key), expected.len() - 1);
    }
}
