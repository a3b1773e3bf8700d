//! The store itself: each call of [`Store`] as one command.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Key, Outcome, Store, Target,
    mutant::{self, Mutant},
    policy::MAX_TTL,
    store::{Acquired, Filled, HolderId, Lease, LeaseId, Link as Status, Payload, Purpose, Read, StoreError},
};
use redis::{Cmd, Value};
use tokio::sync::watch;

use crate::{
    config::RedisConfig,
    connection::{Incarnation, Session},
    entry::{self, Entry, HEAD},
    error::{ConnectError, NotBytes, TooLarge, UnexpectedReply},
    invalidate,
    journal::{Item, JournalFile},
    link::{Keeper, Link},
    name::Names,
    reads::Found,
    script::SCRIPTS,
    writes::Writes,
};

/// How often an ACQUIRE fences and asks again before it gives up.
const FENCES: usize = 3;

/// How long tokens live under which nothing is stored yet, and at least: what loads take, and by far.
const YOUNG: Duration = Duration::from_secs(10 * 60);

/// Redis takes 512 MB by default, which is far beyond what a bounded call can carry.
const LARGEST: usize = (512 << 20) - HEAD;

/// Entries in Redis or Valkey, shared by all that use its namespace.
///
/// A hit is one `MGET`. Everything else is one script call; invalidating is one round trip for any number of targets,
/// except for globs, which walk the keys.
///
/// It reconnects by itself. While it is out of reach, calls fail at once, and invalidations are queued; they are
/// replayed before anything is read again. Dropping the store closes the connection.
///
/// It may outlive the runtime that it was connected on: the first call on another one reconnects there.
///
/// ```no_run
/// # async fn example() -> Result<(), cache_redis::ConnectError> {
/// use cache_redis::{RedisConfig, RedisStore};
///
/// let store = RedisStore::connect(RedisConfig::new("redis://127.0.0.1").namespace("staffing")).await?;
/// # drop(store); Ok(())
/// # }
/// ```
pub struct RedisStore {
    link: Arc<Link>,
    names: Names,
    nonces: Nonces,
    token_ttl: Duration,
    keeper: Keeper,
    writes: Writes,
}

impl RedisStore {
    /// Connects. If Redis is not there, the store starts out of reach and joins when it can.
    ///
    /// # Errors
    ///
    /// A URL or a journal file that cannot be read, a user, password or database that Redis refuses; with
    /// [`RedisConfig::require`] also a Redis that is not there.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub async fn connect(config: RedisConfig) -> Result<Self, ConnectError> {
        let address = config.address()?;
        let names = Names::new(&config.namespace);
        let file = match config.journal_file.clone() {
            Some(path) => Some(open_journal(path, config.namespace.clone()).await?),
            None => None,
        };
        let link = Arc::new(Link::new(&config, address, names.clone(), file));
        match link.join().await {
            Ok(()) => {}
            Err(error) if error.is_temporary() && !config.require => {
                tracing::warn!(at = link.at(), %error, "Redis is out of reach; it is used as soon as it answers");
            }
            Err(error) => return Err(error),
        }
        let keeper = Keeper::new(Arc::clone(&link));
        Ok(Self {
            link,
            names,
            nonces: Nonces::default(),
            token_ttl: config.token_ttl,
            keeper,
            writes: Writes::default(),
        })
    }

    fn acquire_command(&self, incarnation: &Incarnation, key: &Key, purpose: Purpose, lasts: Duration) -> Cmd {
        let tokens = Names::token_count(key);
        let bytes = self.names.size(key) + 160;
        let (mut command, known) = match purpose {
            Purpose::Load { unreadable } => (SCRIPTS.acquire.call(1 + tokens, bytes), unreadable),
            Purpose::Refresh(id) => (SCRIPTS.refresh.call(2 + tokens, bytes), Some(id)),
        };
        self.names.write_entry(&mut command, key);
        self.names.write_tokens(&mut command, key);
        if matches!(purpose, Purpose::Refresh(_)) {
            self.names.write_beside(&mut command, key);
        }
        command.arg(incarnation).arg(self.nonces.next()).arg(millis(lasts)).arg(millis(YOUNG.min(self.token_ttl)));
        command.arg(known.as_ref().map_or(&[][..], |id| &id.0));
        command
    }

    /// A call that concerns only the place of a lease.
    fn lease_command(&self, script: &crate::script::Script, key: &Key, lease: &Lease) -> Cmd {
        let mut command = script.call(1, self.names.size(key) + HEAD);
        if lease.replaces.is_some() {
            self.names.write_beside(&mut command, key);
        } else {
            self.names.write_entry(&mut command, key);
        }
        command.arg(&entry::head(b'L', lease));
        command
    }

    fn fill_command(&self, key: &Key, lease: &Lease, payload: &[u8], ttl: Duration) -> Cmd {
        let tokens = Names::token_count(key);
        let bytes = self.names.size(key) + 2 * HEAD + 64 + payload.len();
        let script = if lease.replaces.is_some() { &SCRIPTS.replace } else { &SCRIPTS.fill };
        let mut command = script.call(1 + tokens + usize::from(lease.replaces.is_some()), bytes);
        self.names.write_entry(&mut command, key);
        self.names.write_tokens(&mut command, key);
        if lease.replaces.is_some() {
            self.names.write_beside(&mut command, key);
        }
        command.arg(&entry::head(b'L', lease));
        entry::write_value(&mut command, lease, payload);
        let ttl = ttl.min(MAX_TTL);
        command.arg(millis(ttl)).arg(millis((2 * ttl).max(YOUNG).min(self.token_ttl)));
        if let Some(id) = lease.replaces {
            command.arg(&id.0);
        }
        command
    }

    /// The link, with a task that keeps it: the one before may have ended with its runtime.
    fn kept(&self) -> &Link {
        self.keeper.ensure();
        &self.link
    }

    fn session(&self) -> Result<Arc<Session>, StoreError> {
        self.kept().session()
    }

    /// A call that stores something, and that a server may refuse which takes others.
    async fn write(&self, session: &Arc<Session>, command: &Cmd) -> Result<Value, StoreError> {
        let result = self.link.call(session, command).await;
        result.inspect_err(|error| self.writes.failed(self.link.at(), error))
    }

    async fn call(&self, command: &Cmd) -> Result<Value, StoreError> {
        let session = self.session()?;
        self.link.call(&session, command).await
    }
}

#[async_trait]
impl Store for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn read(&self, key: &Key) -> Result<Read, StoreError> {
        let session = self.session()?;
        let values = self.link.read(&session, self.names.of_read(key)).await?;
        Ok(judge(&values, &session))
    }

    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError> {
        for _ in 0..FENCES {
            let session = self.session()?;
            let command = self.acquire_command(session.incarnation(), key, purpose, lasts);
            let Value::BulkString(answer) = self.write(&session, &command).await? else {
                return Err(unexpected());
            };
            if answer == b"F" {
                self.link.fence(&session).await?;
                continue;
            }
            let acquired = acquired(answer, purpose)?;
            if matches!(acquired, Acquired::Lease(_)) {
                self.writes.work(self.link.at());
            }
            return Ok(acquired);
        }
        // Others keep bringing back a root of another incarnation: two servers that take themselves for the primary.
        Err(StoreError::Unavailable)
    }

    async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> Result<bool, StoreError> {
        let mut command = self.lease_command(&SCRIPTS.renew, key, lease);
        command.arg(millis(lasts));
        Ok(self.call(&command).await? == Value::Int(1))
    }

    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError> {
        let Payload::Bytes(payload) = payload else {
            return Err(StoreError::Failed(Box::new(NotBytes)));
        };
        if payload.len() > LARGEST {
            return Err(StoreError::Failed(Box::new(TooLarge(payload.len()))));
        }
        let command = self.fill_command(key, lease, &payload, ttl);
        let session = self.session()?;
        match self.write(&session, &command).await? {
            Value::Int(1) => {
                self.writes.work(self.link.at());
                Ok(Filled::Stored)
            }
            Value::Int(0) => Ok(Filled::Refused),
            _ => Err(unexpected()),
        }
    }

    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError> {
        self.call(&self.lease_command(&SCRIPTS.release, key, lease)).await.map(drop)
    }

    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError> {
        if targets.is_empty() {
            return Ok(Outcome::Applied);
        }
        Ok(self.kept().invalidate(Item::of(targets, None)).await)
    }

    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError> {
        let commands = invalidate::hold(&self.names, targets, holder, lasts.min(MAX_TTL));
        let commands = commands.map_err(|error| StoreError::Failed(Box::new(error)))?;
        let session = self.session()?;
        self.link.call_all(&session, &commands).await
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError> {
        if targets.is_empty() {
            return Ok(Outcome::Applied);
        }
        Ok(self.kept().invalidate(Item::of(targets, Some(holder))).await)
    }

    fn link(&self) -> Option<watch::Receiver<Status>> {
        Some(self.kept().status())
    }
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("at", &self.link.at()).field("names", &self.names).finish_non_exhaustive()
    }
}

async fn open_journal(path: PathBuf, namespace: String) -> Result<(JournalFile, Vec<Item>), ConnectError> {
    let at = path.clone();
    let opened = tokio::task::spawn_blocking(move || JournalFile::open(&at, &namespace)).await;
    opened.unwrap_or_else(|error| Err(error.into())).map_err(|source| ConnectError::JournalFile { path, source })
}

/// What an entry and its tokens, read by one `MGET`, come to.
fn judge(values: &[Found], session: &Session) -> Read {
    let Some((found, tokens)) = values.split_first() else { return Read::Miss { loading: None } };
    let is_held = |value: &Found| value.as_ref().is_some_and(|token| token.first() == Some(&b'Q'));
    if is_held(found) || tokens.iter().skip(1).any(is_held) {
        return Read::Held;
    }
    let Some(found) = found else {
        return Read::Miss { loading: None };
    };
    let entry = Entry::parse(found);
    match (entry, live_stamp(tokens, session.incarnation())) {
        (Entry::Value { stamp, id }, Some(live)) if stamp == live || mutant::is(Mutant::NoStampComparison) => {
            Read::Hit(entry::stored(id, found))
        }
        (Entry::Lease { stamp, id }, Some(live)) if stamp == live => Read::Miss { loading: Some(id) },
        _ => Read::Miss { loading: None },
    }
}

/// The stamp of the tokens as they are, if all are there and the root is of the connection's own incarnation.
fn live_stamp(tokens: &[Found], incarnation: &Incarnation) -> Option<entry::Stamp> {
    let (root, tokens) = tokens.split_first()?;
    let root: &[u8] = root.as_ref()?;
    let root = match root.strip_prefix(incarnation) {
        None if mutant::is(Mutant::NoIncarnationCheck) => root.get(incarnation.len()..)?,
        own => own?,
    };
    if tokens.iter().any(Option::is_none) {
        return None;
    }
    Some(entry::stamp(std::iter::once(root).chain(tokens.iter().flatten().map(|token| &**token))))
}

fn acquired(answer: Vec<u8>, purpose: Purpose) -> Result<Acquired, StoreError> {
    let replaces = match purpose {
        Purpose::Refresh(id) => Some(id),
        Purpose::Load { .. } => None,
    };
    match answer.first() {
        Some(b'W') if answer.len() > HEAD => {
            let mut id = [0; 32];
            id.copy_from_slice(&answer[33..HEAD]);
            let left = std::str::from_utf8(&answer[HEAD..]).ok().and_then(|left| left.parse().ok());
            let left = Duration::from_millis(left.ok_or_else(unexpected)?);
            Ok(Acquired::Wait { lease: LeaseId(id), left })
        }
        Some(b'G') => Ok(Acquired::Gone),
        _ => match Entry::parse(&answer) {
            Entry::Lease { stamp, id } => Ok(Acquired::Lease(Lease { id, stamp, replaces })),
            Entry::Value { id, .. } => Ok(Acquired::Value(entry::stored(id, &answer.into()))),
            Entry::Held => Ok(Acquired::Held),
            Entry::Garbage => Err(unexpected()),
        },
    }
}

fn unexpected() -> StoreError {
    StoreError::Failed(Box::new(UnexpectedReply))
}

/// Redis takes whole milliseconds, and no zero.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}

/// 128 bits that no other call of any instance has: a counter under a hash keyed at random for each store.
#[derive(Default)]
struct Nonces {
    keys: [RandomState; 2],
    counter: AtomicU64,
}

impl Nonces {
    fn next(&self) -> String {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}{:016x}", self.keys[0].hash_one(count), self.keys[1].hash_one(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_of_two_stores_differ() {
        let (one, other) = (Nonces::default(), Nonces::default());
        let mut all: Vec<_> = (0..100).flat_map(|_| [one.next(), other.next()]).collect();
        assert!(all.iter().all(|nonce| nonce.len() == 32));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 200);
    }

    #[test]
    fn no_duration_becomes_zero() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_secs(2)), 2_000);
        assert_eq!(millis(Duration::MAX), 1 << 50);
    }
}
