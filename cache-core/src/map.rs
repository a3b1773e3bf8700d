//! The invalidation map: which function's entries are dropped by whom, read from the attributes of the program.
//!
//! Everything is known before `main`: no method has to run for it. What is invalidated by hand, by
//! [`Cache::invalidate`](crate::Cache::invalidate), is not in it.

mod draw;
mod resolve;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::registry::{self, Aim, Site};

/// The cached functions of the program and those that invalidate their entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Map {
    /// By file and line.
    pub functions: Vec<CachedFunction>,
    /// By file and line.
    pub writers: Vec<Writer>,
}

/// A function with `#[cached]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CachedFunction {
    /// The first segment of its keys.
    pub prefix: String,
    /// Module path, type and name.
    pub function: String,
    /// As it is written.
    pub ttl: String,
    /// As they are written.
    pub tags: Vec<String>,
    /// Where the attribute is.
    pub file: String,
    /// Where the attribute is.
    pub line: u32,
}

/// A function with `#[invalidates]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Writer {
    /// Module path, type and name.
    pub function: String,
    /// Where the attribute is.
    pub file: String,
    /// Where the attribute is.
    pub line: u32,
    /// What it drops, in the order in which it is written.
    pub drops: Vec<Drops>,
}

/// One target of a writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Drops {
    /// How.
    pub how: How,
    /// As it is written.
    pub target: String,
    /// The prefixes of the functions whose entries it may hit. Of a tag or a glob, those whose own tags or keys can be like that. Functions
    /// are found by their names as they are written: of a type that goes by another name there (`use … as`), or is a parameter, all
    /// methods of the name count, and one that nobody drops may then be taken for dropped.
    pub hits: Vec<String>,
}

/// How entries are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum How {
    /// One entry by all its arguments.
    Entry,
    /// All entries that begin with some arguments.
    Node,
    /// All entries with a tag.
    Tag,
    /// All entries whose key matches.
    Glob,
}

/// The map of this program.
///
/// ```
/// let map = cache_core::map();
/// assert!(map.orphans().is_empty(), "there are no cached functions here");
/// ```
pub fn map() -> Map {
    let sites = registry::sites();
    let functions = sites.iter().map(|site| CachedFunction::new(site)).collect();
    let writers = registry::writers()
        .into_iter()
        .map(|writer| Writer {
            function: writer.function().to_owned(),
            file: writer.file().to_owned(),
            line: writer.line(),
            drops: writer.aims().iter().map(|aim| drops(aim, writer.function(), &sites)).collect(),
        })
        .collect();
    Map { functions, writers }
}

fn drops(aim: &Aim, writer: &str, sites: &[&'static Site]) -> Drops {
    let (how, target, hits) = match *aim {
        Aim::Entry { path, text } => (How::Entry, text, resolve::called(path, writer, sites)),
        Aim::Node { path, text } => (How::Node, text, resolve::called(path, writer, sites)),
        Aim::Tag(tag) => (How::Tag, tag, resolve::tagged(tag, sites)),
        Aim::Glob(glob) => (How::Glob, glob, resolve::matching(glob, sites)),
    };
    let mut hits: Vec<_> = hits.into_iter().map(|site| site.prefix().to_owned()).collect();
    hits.sort();
    hits.dedup();
    Drops { how, target: target.to_owned(), hits }
}

impl CachedFunction {
    fn new(site: &Site) -> Self {
        Self {
            prefix: site.prefix().to_owned(),
            function: site.function().to_owned(),
            ttl: site.ttl().to_owned(),
            tags: site.tags().iter().map(ToString::to_string).collect(),
            file: site.file().to_owned(),
            line: site.line(),
        }
    }
}

impl Map {
    /// Functions whose entries no writer drops: they live until their TTL.
    pub fn orphans(&self) -> Vec<&CachedFunction> {
        self.functions.iter().filter(|function| self.dropped_by(&function.prefix).next().is_none()).collect()
    }

    /// Who drops entries with this prefix, and by which target.
    pub fn dropped_by<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Writer, &'a Drops)> {
        let all = self.writers.iter().flat_map(|writer| writer.drops.iter().map(move |drops| (writer, drops)));
        all.filter(move |(_, drops)| drops.hits.iter().any(|hit| hit == prefix))
    }

    /// Targets that hit nothing: a tag that no cached function has, a glob that matches no key.
    pub fn idle(&self) -> Vec<(&Writer, &Drops)> {
        let all = self.writers.iter().flat_map(|writer| writer.drops.iter().map(move |drops| (writer, drops)));
        all.filter(|(_, drops)| drops.hits.is_empty()).collect()
    }

    /// Compares the orphans with those that are meant to be: for a test, so that no cached function is forgotten by its writers.
    ///
    /// ```
    /// // Settings change by deployment only.
    /// # let map = cache_core::map();
    /// # let known: [&str; 0] = [];
    /// map.check_orphans(known)?;
    /// # Ok::<(), cache_core::map::Orphans>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A function that nobody drops and `known` does not name, by its prefix; and a name in `known` that is no orphan.
    pub fn check_orphans<'a>(&self, known: impl IntoIterator<Item = &'a str>) -> Result<(), Orphans> {
        let known: Vec<_> = known.into_iter().collect();
        let orphans = self.orphans();
        let is_orphan = |name: &&str| orphans.iter().any(|orphan| orphan.prefix == *name);
        let outdated = known.iter().filter(|name| !is_orphan(name)).map(ToString::to_string).collect::<Vec<_>>();
        let new: Vec<_> = orphans.into_iter().filter(|orphan| !known.contains(&&*orphan.prefix)).cloned().collect();
        if new.is_empty() && outdated.is_empty() { Ok(()) } else { Err(Orphans { new, outdated }) }
    }
}

/// Orphans are not those that were expected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Orphans {
    /// Functions that nobody drops, and that were not expected.
    pub new: Vec<CachedFunction>,
    /// Expected, and not orphans.
    pub outdated: Vec<String>,
}

impl fmt::Display for Orphans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for CachedFunction { prefix, function, ttl, file, line, .. } in &self.new {
            writeln!(
                f,
                "`{}` ({file}:{line}) is cached for {ttl} as `{prefix}`, and no `#[invalidates]` drops it: \
                 name it where its data are written, or list it as known",
                function.replace('.', "::"),
            )?;
        }
        for prefix in &self.outdated {
            writeln!(f, "`{prefix}` is listed as a known orphan and is none: take it off the list")?;
        }
        Ok(())
    }
}

impl std::error::Error for Orphans {}
