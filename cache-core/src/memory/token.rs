//! Tokens: what an entry stands or falls with.
//!
//! A token belongs to one node or one tag. It is alive from its creation until the node or tag is invalidated, then dead
//! for ever: the next entry below that node gets a token of its own. Entries share their tokens, so an invalidation
//! is one store to memory, however many entries hang on it, and a hit asks its tokens without looking anything up.
//!
//! Invariants: a dead token never lives again. A [`Table`] lists at most one token for a name, and every token that is alive
//! is listed. The table does not keep its tokens alive: the last entry that lets go of a token takes its name
//! out of the table, so that the table is never larger than what the entries refer to.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;

/// What one token costs at most, in bytes, beside its name: itself, its place in the table and the reference to it.
pub(super) const WEIGHT: usize = 160;

const SHARDS: usize = 32;

/// What an entry below one node, or with one tag, refers to.
pub(super) struct Token {
    alive: AtomicBool,
    name: Arc<str>,
    table: Arc<Table>,
}

impl Token {
    /// Whether nothing has invalidated what the token stands for since it was created.
    #[inline]
    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn kill(&self) {
        self.alive.store(false, Ordering::SeqCst);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.table.forget(self);
    }
}

type Shard = HashMap<Arc<str>, Weak<Token>, DefaultHashBuilder>;

/// The tokens that are alive, by name. One for nodes and one for tags.
///
/// No token is dropped under a shard's lock, because its `Drop` takes that lock.
pub(super) struct Table {
    hasher: DefaultHashBuilder,
    shards: [Mutex<Shard>; SHARDS],
}

impl Table {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { hasher: DefaultHashBuilder::default(), shards: Default::default() })
    }

    /// The token of that name which is alive now, or a new one.
    pub(super) fn obtain(self: &Arc<Self>, name: &str) -> Arc<Token> {
        let mut shard = self.shard(name).lock();
        if let Some(token) = shard.get(name).and_then(Weak::upgrade) {
            return token;
        }
        let name: Arc<str> = name.into();
        let token = Arc::new(Token { alive: AtomicBool::new(true), name: name.clone(), table: self.clone() });
        // This may take the place of a token whose last reference has just gone and whose `Drop` waits for the lock.
        shard.insert(name, Arc::downgrade(&token));
        token
    }

    /// Kills the token of that name. Without one, no entry refers to the name and there is nothing to invalidate.
    pub(super) fn kill(&self, name: &str) {
        let mut shard = self.shard(name).lock();
        let listed = shard.remove(name);
        let token = listed.and_then(|token| token.upgrade());
        if let Some(token) = &token {
            // Under the lock: who obtains a token after this call gets another one.
            token.kill();
        }
        shrink(&mut shard);
        drop(shard);
    }

    /// Whether anything refers to that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.shard(name).lock().get(name).is_some_and(|token| token.strong_count() > 0)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn forget(&self, token: &Token) {
        let mut shard = self.shard(&token.name).lock();
        if shard.get(&*token.name).is_some_and(|listed| std::ptr::eq(listed.as_ptr(), token)) {
            shard.remove(&*token.name);
            shrink(&mut shard);
        }
    }

    fn shard(&self, name: &str) -> &Mutex<Shard> {
        // The low bits choose the bucket inside the shard; the middle ones are independent of them.
        let hash = self.hasher.hash_one(name);
        &self.shards[usize::try_from((hash >> 24) % SHARDS as u64).expect("less than the number of shards")]
    }
}

/// Gives memory back after a peak.
fn shrink(shard: &mut Shard) {
    if shard.capacity() > 64 && shard.len() * 4 < shard.capacity() {
        shard.shrink_to(shard.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_share_the_token_of_a_name() {
        let table = Table::new();
        let (one, two, other) = (table.obtain("a"), table.obtain("a"), table.obtain("b"));
        assert!(Arc::ptr_eq(&one, &two));
        assert!(!Arc::ptr_eq(&one, &other));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_killed_token_stays_dead_and_the_name_gets_another() {
        let table = Table::new();
        let old = table.obtain("a");
        table.kill("a");
        let new = table.obtain("a");
        assert!(!old.is_alive());
        assert!(new.is_alive());
        table.kill("b");
        assert!(new.is_alive());
    }

    #[test]
    fn the_last_reference_takes_the_name_along_but_only_its_own() {
        let table = Table::new();
        let old = table.obtain("a");
        table.kill("a");
        let new = table.obtain("a");
        drop(old);
        assert_eq!(table.len(), 1, "the new token's name went with the old token");
        drop(new);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_peak_is_given_back() {
        let table = Table::new();
        let tokens: Vec<_> = (0..100_000).map(|number| table.obtain(&number.to_string())).collect();
        assert_eq!(table.len(), 100_000);
        drop(tokens);
        assert_eq!(table.len(), 0);
        let capacity: usize = table.shards.iter().map(|shard| shard.lock().capacity()).sum();
        assert!(capacity <= 64 * 2 * SHARDS, "{capacity} places are kept for nothing");
    }

    #[test]
    fn no_token_escapes_a_kill_in_a_race() {
        let table = Table::new();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let token = table.obtain("a");
                        table.kill("a");
                        assert!(!token.is_alive());
                    }
                });
            }
        });
        assert_eq!(table.len(), 0);
    }
}
