//! Key names in Redis: the one place that knows them.
//!
//! `<namespace>:<path>` is an entry, `…#r` the lease beside it, `…#g` the token of the node at that path,
//! `<namespace>:#tag:<tag>#g` a tag's token, `<namespace>:#root` the namespace's. `<namespace>:#reign` is there with
//! sentinels: under which primary's reign the data were good. `<namespace>:#members` and `<namespace>:#seq` are there once an
//! instance has kept values in its own memory: who does, and how many invalidations were [announced](crate::feed). No encoded path or tag holds a `#`, so
//! they never meet.
//!
//! In a cluster `{tag}` of a [partition](Partition) stands before all that comes after `<namespace>:`, which holds no
//! brace. An entry is in the partition of its path, the token of a node in that of the node's path, a tag's in that of
//! the tag. Two tokens are in every partition, and an entry is under those of its own: the root, and that of the
//! outermost node, which is a whole function. So what is under these two only is in one place.

#[cfg(test)]
mod tests;

use std::io::Write as _;

use cache_core::key::{Key, SEPARATOR, Tag, Target};
use redis::{Cmd, RedisWrite as _};

use crate::{
    partition::{self, Partition},
    reads::{Part, Wanted},
};

const ROOT: &str = "#root";
const REIGN: &str = "#reign";
const NEVER: &str = "#never";
const MEMBERS: &str = "#members";
const SEQUENCE: &str = "#seq";
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

    pub(crate) fn entry(&self, home: Partition, key: &Key) -> String {
        self.name(home, &[key.as_str()])
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
    pub(crate) fn of_read(&self, home: Partition, key: &Key, part: Part) -> Wanted {
        let mut wanted = Wanted::with_capacity(home, 1 + self.token_count(home, key), self.size(key)).first(part);
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

    /// Where the reign is noted that the data are good under. There are none in a cluster.
    pub(crate) fn reign(&self) -> String {
        self.name(Partition::WHOLE, &[REIGN])
    }

    /// A key that never exists.
    pub(crate) fn never(&self, at: Partition) -> String {
        self.name(at, &[NEVER])
    }

    pub(crate) fn root(&self, at: Partition) -> String {
        self.name(at, &[ROOT])
    }

    /// What the feed has in Redis, all of it in one partition; `database` is that of its keys, which channels do not have.
    pub(crate) fn feed(&self, database: i64) -> FeedNames {
        let at = self.partition(&self.prefix);
        FeedNames {
            at,
            never: self.never(at),
            members: self.name(at, &[MEMBERS]),
            sequence: self.name(at, &[SEQUENCE]),
            channel: format!("{}#feed@{database}", self.prefix),
            acks: format!("{}#ack@{database}:", self.prefix),
        }
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

    /// A tag's token, and where it is.
    pub(crate) fn tag_token(&self, tag: &Tag) -> (Partition, String) {
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

    /// Where a service's own keys of this place are.
    pub(crate) fn place(&self, place: &str) -> Partition {
        self.partition(place)
    }

    /// The name of a key of a service's own. The namespace is followed by `#`, so no pattern for entries finds it.
    pub(crate) fn beside(&self, place: &str, name: &str) -> String {
        let namespace = &self.prefix[..self.prefix.len() - 1];
        if self.is_partitioned {
            format!("{namespace}#{{{}}}{name}", self.partition(place).tag())
        } else {
            format!("{namespace}#{name}")
        }
    }

    /// The path of an entry that a pattern has found; `None` for anything else.
    pub(crate) fn path_of(&self, name: &[u8]) -> Option<String> {
        let mut path = std::str::from_utf8(name).ok()?.strip_prefix(&self.prefix)?;
        if self.is_partitioned {
            path = path.strip_prefix('{')?.split_once('}')?.1;
        }
        // No encoded path holds one.
        (!path.contains('#')).then(|| path.to_owned())
    }

    /// The pattern of the names of the paths that match a glob.
    pub(crate) fn pattern(&self, glob: &str) -> String {
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

/// The names of what the feed has in Redis.
#[derive(Debug)]
pub(crate) struct FeedNames {
    pub(crate) at: Partition,
    pub(crate) never: String,
    /// The registry.
    pub(crate) members: String,
    /// The number of the last announcement.
    pub(crate) sequence: String,
    /// Where announcements are published.
    pub(crate) channel: String,
    /// Before the id of whom an acknowledgement is for.
    pub(crate) acks: String,
}

impl FeedNames {
    /// Whether a pattern that found this must leave it: it is no entry, and losing it costs.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        key == self.members.as_bytes() || key == self.sequence.as_bytes()
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
