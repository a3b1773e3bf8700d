//! Looking into a store: which entries are there, what lies at them, and what an invalidation would hit.
//!
//! For operators and tools; no call of a cached function comes through here. Everything is bounded: a [`Page`] ends after so
//! many steps of a walk, a [`Contents`] after [`LARGEST`] bytes.

mod shown;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Serialize, Serializer};

pub use self::shown::{Contents, Described, Item, Kind, Page, Preview, Server, Validity};
use crate::{
    cache::Cache,
    key::{Key, NotAKey, Tag, Target, decode},
    store::StoreError,
};

/// The most bytes of one entry that are fetched to be looked at.
pub const LARGEST: usize = 1 << 20;

/// How many entries a preview asks for in one step.
const STEP: usize = 1_000;

/// What a store implements to be looked into. All of it only reads.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// Goes on with a walk over the paths that match a glob, for about `count` of them or until some time has passed. A path that is there
    /// from the beginning to the end comes at least once.
    async fn walk(&self, glob: &str, from: Option<&Cursor>, count: usize) -> Result<Paths, StoreError>;

    /// What lies at these entries, in the same order; `None` where nothing is. Tags of the keys are not looked at.
    async fn describe(&self, keys: &[Key]) -> Result<Vec<Option<Described>>, StoreError>;

    /// The first [`LARGEST`] bytes of what is stored at an entry: header and encoded value. `None`: no value, or an object.
    async fn bytes(&self, key: &Key) -> Result<Option<Bytes>, StoreError>;

    /// Whether something is stored under a tag. `None`: it cannot be told.
    async fn has_tag(&self, _tag: &Tag) -> Result<Option<bool>, StoreError> {
        Ok(None)
    }

    /// The servers that have the entries; none for a store inside of the process.
    async fn servers(&self) -> Result<Vec<Server>, StoreError> {
        Ok(Vec::new())
    }
}

/// Where a walk goes on. Opaque; in a URL it has to be escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(String);

impl Cursor {
    /// Of a store's own making.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it was made.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Cursor {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A cursor that this store has not made, or whose place is gone: begin again without one.
#[derive(Debug, thiserror::Error)]
#[error("the walk cannot go on at `{0}`: begin again")]
pub struct Lost(pub String);

/// The store does not let anybody look into it. Comes in [`StoreError::Failed`].
#[derive(Debug, thiserror::Error)]
#[error("this store cannot be looked into")]
pub struct Opaque;

/// What a step of a walk has found.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// Encoded paths of entries, without namespace.
    pub paths: Vec<String>,
    /// Where it goes on; `None` at the end.
    pub next: Option<Cursor>,
}

/// Looks into a cache's store. [`Cache::inspect`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Inspector<'a> {
    cache: &'a Cache,
}

impl Cache {
    /// Looks into the store: for operators and tools.
    pub fn inspect(&self) -> Inspector<'_> {
        Inspector { cache: self }
    }
}

impl Inspector<'_> {
    fn store(&self) -> Result<&dyn Inspect, StoreError> {
        self.cache.store().inspect().ok_or_else(|| StoreError::Failed(Box::new(Opaque)))
    }

    /// About `count` entries whose path matches a glob (`*` for all), from a cursor on. In no particular order; over Redis an entry may
    /// come twice, and one that comes or goes meanwhile may or may not come.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] while the store is out of reach; [`StoreError::Failed`] of [`Lost`] for a cursor that leads nowhere.
    pub async fn list(&self, glob: &str, from: Option<&Cursor>, count: usize) -> Result<Page, StoreError> {
        let store = self.store()?;
        let Paths { mut paths, next } = store.walk(glob, from, count.max(1)).await?;
        paths.sort_unstable();
        paths.dedup();
        let keys: Vec<Key> = paths.iter().filter_map(|path| Key::of_encoded(path).ok()).collect();
        let described = store.describe(&keys).await?;
        let items = keys.iter().zip(described).filter_map(|(key, it)| Some(Item::new(key, it?))).collect();
        Ok(Page { items, next })
    }

    /// The paths alone of what [`Inspector::list`] lists: cheaper, and good enough to count. Some may come twice.
    ///
    /// # Errors
    ///
    /// As of [`Inspector::list`].
    pub async fn walk(&self, glob: &str, from: Option<&Cursor>, count: usize) -> Result<Paths, StoreError> {
        self.store()?.walk(glob, from, count.max(1)).await
    }

    /// What lies at an entry. `None`: nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] while the store is out of reach.
    pub async fn look(&self, key: &Key) -> Result<Option<Contents>, StoreError> {
        let store = self.store()?;
        let described = store.describe(std::slice::from_ref(key)).await?;
        let Some(described) = described.into_iter().next().flatten() else { return Ok(None) };
        let item = Item::new(key, described);
        let bytes = if item.kind == Kind::Value { store.bytes(key).await? } else { None };
        Ok(Some(Contents { item, bytes }))
    }

    /// Counts what an invalidation would hit, up to `most` entries. Over Redis this walks over all keys for everything but an entry and a tag.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] while the store is out of reach.
    pub async fn preview(&self, target: &Target, most: u64) -> Result<Preview, StoreError> {
        self.preview_with(target, most, |_| {}).await
    }

    /// [`Inspector::preview`], telling how many were counted after each step of the walk.
    pub async fn preview_with(
        &self,
        target: &Target,
        most: u64,
        mut counted: impl FnMut(u64) + Send,
    ) -> Result<Preview, StoreError> {
        let store = self.store()?;
        let mut preview = Preview { count: 0, is_at_least: false, some: Vec::new(), tag_in_use: None };
        let globs = match target {
            // No encoded path holds a character that means something in a glob.
            Target::Entry(path) => vec![path.clone()],
            Target::Node(path) => vec![path.clone(), format!("{path}:*")],
            Target::Glob(glob) => vec![glob.clone()],
            Target::Tag(tag) => {
                preview.tag_in_use = store.has_tag(tag).await?;
                return Ok(preview);
            }
            Target::All => vec!["*".to_owned()],
        };
        for glob in globs {
            if let Some(key) = literal(&glob) {
                let is_there = store.describe(std::slice::from_ref(&key)).await?.into_iter().flatten().next().is_some();
                preview.add(is_there.then(|| key.as_str().to_owned()));
                continue;
            }
            let mut at = None;
            loop {
                let Paths { paths, next } = store.walk(&glob, at.as_ref(), STEP).await?;
                preview.add(paths);
                counted(preview.count);
                if next.is_none() {
                    break;
                }
                if preview.count >= most {
                    preview.is_at_least = true;
                    return Ok(preview);
                }
                at = next;
            }
        }
        Ok(preview)
    }

    /// The servers that the entries are on, as they describe themselves; none for a cache in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] while the store is out of reach.
    pub async fn servers(&self) -> Result<Vec<Server>, StoreError> {
        self.store()?.servers().await
    }
}

/// What an invalidation is to hit, as text names it: for tools.
///
/// ```
/// use cache_core::inspect::Naming;
///
/// let target = Naming::Node.target("page:7")?;
/// assert_eq!(target.to_string(), "page:7:..");
/// assert!(Naming::Entry.target("page:a b").is_err());
/// # Ok::<(), cache_core::key::NotAKey>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The encoded path of an entry.
    Entry,
    /// The encoded path of a node; of one segment it is a whole function.
    Node,
    /// An encoded tag.
    Tag,
    /// A glob.
    Glob,
}

impl Naming {
    /// The target.
    ///
    /// # Errors
    ///
    /// [`NotAKey`] for a path that no key can have, or a tag that no tag can be.
    pub fn target(self, text: &str) -> Result<Target, NotAKey> {
        if self != Self::Glob {
            decode(text)?;
        }
        let text = text.to_owned();
        Ok(match self {
            Self::Entry => Target::Entry(text),
            Self::Node => Target::Node(text),
            Self::Tag => Target::Tag(Tag::from_encoded(text)),
            Self::Glob => Target::Glob(text),
        })
    }
}

/// The entry that a glob without any special character names.
fn literal(glob: &str) -> Option<Key> {
    let is_plain = !glob.contains(['*', '?', '[', ']', '\\']);
    is_plain.then(|| Key::of_encoded(glob).ok()).flatten()
}
