//! Key names in Redis: the one place that knows them.
//!
//! `<namespace>:<path>` is an entry, `…#r` the lease beside it, `…#g` the token of the node at that path,
//! `<namespace>:#tag:<tag>#g` a tag's token, `<namespace>:#root` the namespace's. No encoded path or tag holds a `#`, so
//! they never meet.
//!
//! In a cluster `{tag}` of a [partition](Partition) stands before all that comes after `<namespace>:`, which holds no
//! brace. An entry is in the partition of its path, the token of a node in that of the node's path, a tag's in that of
//! the tag. Two tokens are in every partition, and an entry is under those of its own: the root, and that of the
//! outermost node, which is a whole function. So what is under these two only is in one place.

use std::io::Write as _;

use cache_core::key::{Key, SEPARATOR, Tag, Target};
use redis::{Cmd, RedisWrite as _};

use crate::{
    partition::{self, Partition},
    reads::Wanted,
};

const ROOT: &str = "#root";
const NEVER: &str = "#never";
const BESIDE: &str = "#r";
const TOKEN: &str = "#g";
const TAG: &str = "#tag:";

/// Writes the names of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The escaped namespace and the separator.
    prefix: String,
    is_partitioned: bool,
}

/// What has a token of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Node(&'a str),
    Tag(&'a Tag),
}

/// The tokens above an entry that are in another partition than the entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere<'a> {
    pub(crate) at: Partition,
    pub(crate) tokens: Vec<Token<'a>>,
}

impl Names {
    /// The names on one server. The namespace is escaped like a segment of a key, so no namespace covers another.
    pub(crate) fn new(namespace: &str) -> Self {
        Self { prefix: format!("{}:", Key::new(namespace)), is_partitioned: false }
    }

    /// The names in a cluster.
    pub(crate) fn partitioned(namespace: &str) -> Self {
        Self { is_partitioned: true, ..Self::new(namespace) }
    }

    /// The partitions that there are.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        Partition::all().take(if self.is_partitioned { partition::COUNT } else { 1 })
    }

    /// Where the entry is.
    pub(crate) fn home(&self, key: &Key) -> Partition {
        self.partition(key.as_str())
    }

    fn partition(&self, text: &str) -> Partition {
        if self.is_partitioned { Partition::of(text) } else { Partition::WHOLE }
    }

    /// The tokens above the entry, and where they are, in the order in which stamps take them.
    fn tokens<'a>(&self, home: Partition, key: &'a Key) -> impl Iterator<Item = (Partition, Token<'a>)> {
        let nodes = key.nodes().enumerate().map(move |(depth, path)| {
            let at = if depth == 0 { home } else { self.partition(path) };
            (at, Token::Node(path))
        });
        nodes.chain(key.tags().iter().map(|tag| (self.partition(tag.as_str()), Token::Tag(tag))))
    }

    /// How many keys [`Names::write_tokens`] writes.
    pub(crate) fn token_count(&self, home: Partition, key: &Key) -> usize {
        if !self.is_partitioned {
            return 1 + key.nodes().len() + key.tags().len();
        }
        1 + self.tokens(home, key).filter(|(at, _)| *at == home).count()
    }

    /// Whether any of its tokens are not where the entry is.
    pub(crate) fn is_spread(&self, home: Partition, key: &Key) -> bool {
        self.is_partitioned && self.tokens(home, key).any(|(at, _)| at != home)
    }

    /// The tokens that are not where the entry is, by partitions, in the order in which stamps take them.
    pub(crate) fn elsewhere<'a>(&self, home: Partition, key: &'a Key) -> Vec<Elsewhere<'a>> {
        let mut elsewhere: Vec<Elsewhere<'a>> = Vec::new();
        if !self.is_partitioned {
            return elsewhere;
        }
        for (at, token) in self.tokens(home, key).filter(|(at, _)| *at != home) {
            match elsewhere.iter_mut().find(|other| other.at == at) {
                Some(known) => known.tokens.push(token),
                None => elsewhere.push(Elsewhere { at, tokens: vec![token] }),
            }
        }
        elsewhere
    }

    /// About how many bytes the entry and its tokens take in a command.
    pub(crate) fn size(&self, key: &Key) -> usize {
        let tags: usize = key.tags().iter().map(|tag| tag.as_str().len() + TAG.len()).sum();
        let names = 2 + key.nodes().len() + key.tags().len();
        names * (self.prefix.len() + 2 + self.mark()) + (1 + key.nodes().len()) * key.as_str().len() + tags
    }

    /// How many bytes say which partition it is.
    fn mark(&self) -> usize {
        if self.is_partitioned { partition::TAG + 2 } else { 0 }
    }

    pub(crate) fn write_entry(&self, command: &mut Cmd, home: Partition, key: &Key) {
        self.write(command, home, &[key.as_str()]);
    }

    pub(crate) fn write_beside(&self, command: &mut Cmd, home: Partition, key: &Key) {
        self.write(command, home, &[key.as_str(), BESIDE]);
    }

    pub(crate) fn write_root(&self, command: &mut Cmd, at: Partition) {
        self.write(command, at, &[ROOT]);
    }

    pub(crate) fn write_token(&self, command: &mut Cmd, at: Partition, token: Token<'_>) {
        match token {
            Token::Node(path) => self.write(command, at, &[path, TOKEN]),
            Token::Tag(tag) => self.write(command, at, &[TAG, tag.as_str(), TOKEN]),
        }
    }

    /// The root and the tokens that are where the entry is, in the order in which stamps take them.
    pub(crate) fn write_tokens(&self, command: &mut Cmd, home: Partition, key: &Key) {
        self.write_root(command, home);
        for (_, token) in self.tokens(home, key).filter(|(at, _)| *at == home) {
            self.write_token(command, home, token);
        }
    }

    /// What a read asks for where the entry is: the entry, then root and tokens.
    pub(crate) fn of_read(&self, home: Partition, key: &Key) -> Wanted {
        let mut wanted = Wanted::with_capacity(home, 1 + self.token_count(home, key), self.size(key));
        self.want(&mut wanted, home, &[key.as_str()]);
        self.want(&mut wanted, home, &[ROOT]);
        for (_, token) in self.tokens(home, key).filter(|(at, _)| *at == home) {
            self.want_token(&mut wanted, home, token);
        }
        wanted
    }

    /// What a read asks for where others of the entry's tokens are: root and tokens.
    pub(crate) fn of_read_elsewhere(&self, part: &Elsewhere<'_>) -> Wanted {
        let keys = 1 + part.tokens.len();
        let mut wanted = Wanted::with_capacity(part.at, keys, keys * 48);
        self.want(&mut wanted, part.at, &[ROOT]);
        for token in &part.tokens {
            self.want_token(&mut wanted, part.at, *token);
        }
        wanted
    }

    fn want_token(&self, wanted: &mut Wanted, at: Partition, token: Token<'_>) {
        match token {
            Token::Node(path) => self.want(wanted, at, &[path, TOKEN]),
            Token::Tag(tag) => self.want(wanted, at, &[TAG, tag.as_str(), TOKEN]),
        }
    }

    fn want(&self, wanted: &mut Wanted, at: Partition, parts: &[&str]) {
        let mark = if self.is_partitioned { ["{", at.tag(), "}"] } else { [""; 3] };
        wanted.push([self.prefix.as_str()].into_iter().chain(mark).chain(parts.iter().copied()));
    }

    /// A key that never exists.
    pub(crate) fn never(&self, at: Partition) -> String {
        self.name(at, &[NEVER])
    }

    pub(crate) fn root(&self, at: Partition) -> String {
        self.name(at, &[ROOT])
    }

    /// The keys whose removal invalidates the target, or the pattern that finds them.
    pub(crate) fn of_target(&self, target: &Target, hits: &mut Hits) {
        match target {
            Target::Entry(path) => {
                let home = self.partition(path);
                hits.keys.extend([(home, self.name(home, &[path])), (home, self.name(home, &[path, BESIDE]))]);
            }
            Target::Node(path) => {
                let home = self.partition(path);
                self.node_tokens(path, &mut hits.keys);
                hits.keys.extend([(home, self.name(home, &[path])), (home, self.name(home, &[path, BESIDE]))]);
            }
            Target::Tag(tag) => hits.keys.push(self.tag_token(tag)),
            Target::Glob(glob) => hits.globs.push(self.pattern(glob)),
            // A target of a kind that is newer than this store: everything is the safe reading.
            Target::All | _ => hits.keys.extend(self.partitions().map(|at| (at, self.root(at)))),
        }
    }

    /// The keys that a quarantine of the target stands at; `false` if it has none.
    pub(crate) fn of_hold(&self, target: &Target, keys: &mut Vec<(Partition, String)>) -> bool {
        match target {
            Target::Entry(path) => keys.push((self.partition(path), self.name(self.partition(path), &[path]))),
            Target::Node(path) => {
                self.node_tokens(path, keys);
                keys.push((self.partition(path), self.name(self.partition(path), &[path])));
            }
            Target::Tag(tag) => keys.push(self.tag_token(tag)),
            _ => return false,
        }
        true
    }

    fn node_tokens(&self, path: &str, keys: &mut Vec<(Partition, String)>) {
        let is_outermost = !path.contains(SEPARATOR);
        if is_outermost {
            keys.extend(self.partitions().map(|at| (at, self.name(at, &[path, TOKEN]))));
        } else {
            keys.push((self.partition(path), self.name(self.partition(path), &[path, TOKEN])));
        }
    }

    fn tag_token(&self, tag: &Tag) -> (Partition, String) {
        let at = self.partition(tag.as_str());
        (at, self.name(at, &[TAG, tag.as_str(), TOKEN]))
    }

    /// The partition of a key that a pattern has found; `None` if it is not one of these names.
    pub(crate) fn partition_of(&self, name: &[u8]) -> Option<Partition> {
        if !self.is_partitioned {
            return Some(Partition::WHOLE);
        }
        let (tag, rest) =
            name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"{")?.split_at_checked(partition::TAG)?;
        rest.starts_with(b"}").then(|| Partition::tagged(tag)).flatten()
    }

    fn pattern(&self, glob: &str) -> String {
        let mut pattern = String::with_capacity(self.prefix.len() + self.mark() + glob.len());
        for c in self.prefix.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        if self.is_partitioned {
            pattern.push('{');
            pattern.extend(std::iter::repeat_n('?', partition::TAG));
            pattern.push('}');
        }
        pattern.push_str(glob);
        pattern
    }

    fn name(&self, at: Partition, parts: &[&str]) -> String {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut name = String::with_capacity(self.prefix.len() + self.mark() + length);
        name.push_str(&self.prefix);
        if self.is_partitioned {
            name.extend(["{", at.tag(), "}"]);
        }
        name.extend(parts.iter().copied());
        name
    }

    fn write(&self, command: &mut Cmd, at: Partition, parts: &[&str]) {
        let mut name = command.writer_for_next_arg();
        let mut write = |part: &str| name.write_all(part.as_bytes()).expect("a command is written to memory");
        write(&self.prefix);
        if self.is_partitioned {
            write("{");
            write(at.tag());
            write("}");
        }
        parts.iter().copied().for_each(write);
    }
}

/// What a set of targets comes to.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    /// Keys to remove, and where they are.
    pub(crate) keys: Vec<(Partition, String)>,
    /// Patterns of keys to find and remove.
    pub(crate) globs: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(names: &Names, target: &Target) -> Hits {
        let mut hits = Hits::default();
        names.of_target(target, &mut hits);
        hits
    }

    fn keys(names: &Names, target: &Target) -> Vec<String> {
        hits(names, target).keys.into_iter().map(|(_, name)| name).collect()
    }

    fn written(write: impl FnOnce(&mut Cmd)) -> Vec<String> {
        let mut command = Cmd::new();
        write(&mut command);
        let text = |arg| match arg {
            redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => unreachable!("no cursor was written"),
        };
        command.args_iter().map(text).collect()
    }

    #[test]
    fn a_node_takes_its_token_and_the_entry_at_its_path() {
        let target = Key::new("page").arg(&7).into_node();
        assert_eq!(keys(&Names::new("shop"), &target), ["shop:page:7#g", "shop:page:7", "shop:page:7#r"]);
    }

    #[test]
    fn a_tag_never_meets_a_node_of_the_same_text() {
        let names = Names::new("shop");
        let node = Key::new("#tag").arg(&"a").into_node();
        let tag = Target::Tag(Tag::new("a"));
        assert_eq!(keys(&names, &tag), ["shop:#tag:a#g"]);
        assert!(!keys(&names, &node).contains(&"shop:#tag:a#g".to_owned()));
    }

    #[test]
    fn a_namespace_is_escaped_so_that_none_covers_another() {
        assert_eq!(keys(&Names::new("a:*"), &Target::All), ["a%3A%2A:#root"]);
        assert_eq!(hits(&Names::new("a"), &Target::Glob("x:*".to_owned())).globs, ["a:x:*"]);
        assert_eq!(keys(&Names::new(""), &Target::All), ["'':#root"]);
    }

    #[test]
    fn a_read_asks_for_the_entry_then_the_tokens_in_stamp_order() {
        let key = Key::new("page").arg(&7).arg(&1).tag(Tag::new("owner:7"));
        let names = Names::new("shop");
        let home = names.home(&key);
        let written = written(|command| {
            names.write_entry(command, home, &key);
            names.write_tokens(command, home, &key);
        });
        let wanted = names.of_read(home, &key);
        assert!(wanted.iter().eq(written.iter().map(String::as_bytes)), "{wanted:?}");
        let expected = ["shop:page:7:1", "shop:#root", "shop:page#g", "shop:page:7#g", "shop:#tag:owner:7#g"];
        assert_eq!(written, expected);
        assert_eq!(names.token_count(home, &key), expected.len() - 1);
        assert_eq!(names.elsewhere(home, &key), []);
    }

    #[test]
    fn in_a_cluster_every_name_is_in_the_slot_of_its_partition() {
        // A brace before those of the tag would be taken for it.
        let names = Names::partitioned("shop{a}");
        let slot_of = |name: &str| {
            let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).expect("a tag").0;
            Partition::tagged(tag.as_bytes()).expect("a partition's")
        };
        let targets = [
            Key::new("page").arg(&"{b}").into_entry(),
            Key::new("page").arg(&7).into_node(),
            Key::new("page").into_node(),
            Target::Tag(Tag::new("{owner}:7")),
            Target::All,
        ];
        for target in &targets {
            for (at, name) in hits(&names, target).keys {
                assert!(name.starts_with("shop%7Ba%7D:{"), "{name}");
                assert_eq!(slot_of(&name), at, "{name}");
                assert_eq!(names.partition_of(name.as_bytes()), Some(at));
            }
        }
        for foreign in ["shop%7Ba%7D:page", "shop%7Ba%7D:{xyz}page", "shop:{021}page", "shop%7Ba%7D:{02"] {
            assert_eq!(names.partition_of(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn in_a_cluster_a_function_and_the_root_are_in_every_partition_and_all_else_in_one() {
        let names = Names::partitioned("shop");
        let count = |target| keys(&names, &target).len();
        assert_eq!(count(Target::All), 256);
        assert_eq!(count(Key::new("page").into_node()), 256 + 2);
        assert_eq!(count(Key::new("page").arg(&7).into_node()), 3);
        assert_eq!(count(Key::new("page").into_entry()), 2);
        assert_eq!(count(Target::Tag(Tag::new("a"))), 1);
        let mut held = Vec::new();
        assert!(names.of_hold(&Key::new("page").into_node(), &mut held));
        assert_eq!(held.len(), 256 + 1);
        let everywhere: std::collections::BTreeSet<_> = held.iter().map(|(at, _)| *at).collect();
        assert_eq!(everywhere.len(), 256);
    }

    #[test]
    fn in_a_cluster_the_tokens_of_an_entry_are_apart_by_partitions() {
        let names = Names::partitioned("shop");
        let key = Key::new("page").arg(&7).arg(&1).tag(Tag::new("owner:7")).tag(Tag::new("owner:7"));
        let home = names.home(&key);
        assert_eq!(home, Partition::of("page:7:1"));
        let at_home = written(|command| names.write_tokens(command, home, &key));
        let tag = home.tag();
        assert_eq!(at_home, [format!("shop:{{{tag}}}#root"), format!("shop:{{{tag}}}page#g")]);
        assert_eq!(names.token_count(home, &key), 2);
        let owner = Tag::new("owner:7");
        let elsewhere = [
            Elsewhere { at: Partition::of("page:7"), tokens: vec![Token::Node("page:7")] },
            Elsewhere { at: Partition::of("owner:7"), tokens: vec![Token::Tag(&owner), Token::Tag(&owner)] },
        ];
        assert_eq!(names.elsewhere(home, &key), elsewhere);
        // One argument and no tag: all is in one place.
        let key = Key::new("page").arg(&7);
        assert_eq!(names.elsewhere(names.home(&key), &key), []);
    }

    #[test]
    fn in_a_cluster_a_glob_is_over_the_paths_of_all_partitions() {
        let globs = hits(&Names::partitioned("a"), &Target::Glob("x:*".to_owned())).globs;
        assert_eq!(globs, ["a:{???}x:*"]);
    }
}
