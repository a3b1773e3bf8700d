//! The store itself: each call of [`Store`] as one command, and in a cluster one more for each other partition that has
//! tokens of the entry.

mod elsewhere;
mod judge;
mod read;

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
    doctor::Finding,
    inspect::Inspect,
    policy::MAX_TTL,
    store::{
        Acquired, Filled, HolderId, Lease, Link as Status, Nearby, NotHoldable, Payload, Purpose, Read, StoreError,
        Stored, Traffic,
    },
};
use redis::{Cmd, Value};
use tokio::sync::watch;

use crate::{
    config::{RedisConfig, Topology},
    connection::{Connection, Incarnation},
    entry::{self, HEAD, Half},
    error::{ConnectError, NotBytes, TooLarge, UnexpectedReply},
    feed::LAPSE,
    journal::{Item, JournalFile},
    link::{Keeper, Link},
    name::Names,
    partition::Partition,
    reads::Part,
    script::{SCRIPTS, Script},
    session::{Answer, Session},
    store::{elsewhere::Prepared, judge::acquired},
    writes::Writes,
};

/// Below this many bytes a value is read in full to see whether it still holds.
const SMALL: usize = 256;

/// How often an ACQUIRE fences and asks again before it gives up.
const FENCES: usize = 3;

/// How long tokens live under which nothing is stored yet, and at least: what loads take, and by far.
const YOUNG: Duration = Duration::from_secs(10 * 60);

/// Redis takes 512 MB by default, which is far beyond what a bounded call can carry.
const LARGEST: usize = (512 << 20) - HEAD;

/// Entries in Redis or Valkey, shared by all that use its namespace.
///
/// A hit is one `MGET`. Everything else is one script call; invalidating is one round trip for any number of targets,
/// except for globs, which walk the keys. Where instances keep values in memory of their own
/// ([`feed`](Store::feed)), invalidations and holds also wait until these know, for 1.05 s at most; it needs RESP3 and the
/// right to subscribe and publish on `<namespace>:#*`.
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
        let names = match address.topology {
            Topology::Cluster { .. } => Names::partitioned(&config.namespace),
            Topology::Single(_) | Topology::Sentinel { .. } => Names::new(&config.namespace),
        };
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

    fn acquire_command(&self, incarnation: &Incarnation, of: Of<'_>, asked: Asked) -> Cmd {
        let Of { home, key } = of;
        let tokens = self.names.token_count(home, key);
        let bytes = self.names.size(key) + 160;
        let (mut command, known) = match asked.purpose {
            Purpose::Load { unreadable } => (SCRIPTS.acquire.call(1 + tokens, bytes), unreadable),
            Purpose::Refresh(id) => (SCRIPTS.refresh.call(2 + tokens, bytes), Some(id)),
        };
        self.names.write_entry(&mut command, home, key);
        self.names.write_tokens(&mut command, home, key);
        if matches!(asked.purpose, Purpose::Refresh(_)) {
            self.names.write_beside(&mut command, home, key);
        }
        command.arg(incarnation).arg(self.nonces.next()).arg(millis(asked.lasts)).arg(self.young());
        command.arg(known.as_ref().map_or(&[][..], |id| &id.0));
        if let Some(half) = asked.elsewhere {
            command.arg(&half);
        }
        command
    }

    /// How long tokens live under which nothing is stored yet, in milliseconds.
    fn young(&self) -> u64 {
        millis(YOUNG.min(self.token_ttl))
    }

    /// How long tokens live under which something is stored, in milliseconds.
    fn grown(&self, ttl: Duration) -> u64 {
        millis((2 * ttl).max(YOUNG).min(self.token_ttl))
    }

    /// A call that concerns only the place of a lease.
    fn lease_command(&self, script: &Script, home: Partition, key: &Key, lease: &Lease) -> Cmd {
        let mut command = script.call(1, self.names.size(key) + HEAD);
        if lease.replaces.is_some() {
            self.names.write_beside(&mut command, home, key);
        } else {
            self.names.write_entry(&mut command, home, key);
        }
        command.arg(&entry::head(b'L', lease));
        command
    }

    fn fill_command(&self, of: Of<'_>, lease: &Lease, payload: &[u8], ttl: Duration) -> Cmd {
        let Of { home, key } = of;
        let tokens = self.names.token_count(home, key);
        let bytes = self.names.size(key) + 2 * HEAD + 64 + payload.len();
        let script = if lease.replaces.is_some() { &SCRIPTS.replace } else { &SCRIPTS.fill };
        let mut command = script.call(1 + tokens + usize::from(lease.replaces.is_some()), bytes);
        self.names.write_entry(&mut command, home, key);
        self.names.write_tokens(&mut command, home, key);
        if lease.replaces.is_some() {
            self.names.write_beside(&mut command, home, key);
        }
        command.arg(&entry::head(b'L', lease));
        entry::write_value(&mut command, lease, payload);
        command.arg(millis(ttl)).arg(self.grown(ttl));
        if let Some(id) = lease.replaces {
            command.arg(&id.0);
        }
        if self.names.is_spread(home, key) {
            command.arg(&lease.stamp[16..]);
        }
        command
    }

    /// The link, with a task that keeps it: the one before may have ended with its runtime.
    pub(crate) fn kept(&self) -> &Link {
        self.keeper.ensure();
        &self.link
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn session(&self) -> Result<Arc<Session>, StoreError> {
        self.kept().session()
    }

    /// Tells of a server that refuses to store and takes other calls.
    fn tell_refusal<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.inspect_err(|error| self.writes.failed(self.link.at(), error))
    }
}

/// An entry and the partition that it is in.
#[derive(Clone, Copy)]
struct Of<'a> {
    home: Partition,
    key: &'a Key,
}

/// What a lease is asked for.
#[derive(Clone, Copy)]
struct Asked {
    purpose: Purpose,
    lasts: Duration,
    /// What stands for the tokens of other partitions, if the entry has any.
    elsewhere: Option<Half>,
}

#[async_trait]
impl Store for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn read(&self, key: &Key) -> Result<Read, StoreError> {
        self.read_part(key, Part::Whole).await
    }

    async fn still_holds(&self, key: &Key, known: &Stored) -> Result<bool, StoreError> {
        // A head is a command of its own; what is small comes along in the one for the tokens.
        let part = if known.payload.weight() < SMALL { Part::Whole } else { Part::Head };
        Ok(matches!(self.read_part(key, part).await?, Read::Hit(stored) if stored.id == known.id))
    }

    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError> {
        let home = self.names.home(key);
        for _ in 0..FENCES {
            let session = self.session()?;
            let elsewhere = match self.prepare(&session, Of { home, key }).await? {
                Prepared::Tokens(elsewhere) => elsewhere,
                Prepared::Held => return Ok(Acquired::Held),
            };
            let asked = Asked { purpose, lasts, elsewhere };
            let build =
                |connection: &Connection| self.acquire_command(connection.incarnation(), Of { home, key }, asked);
            let answer = match self.tell_refusal(self.link.call(&session, home, build).await)? {
                Answer::From(_, Value::BulkString(answer)) => answer,
                Answer::From(..) => return Err(unexpected()),
                Answer::OnTheMove => return Ok(Acquired::Held),
            };
            if answer == b"F" {
                self.link.fence(&session, &[home]).await?;
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
        let home = self.names.home(key);
        let build = |_: &Connection| {
            let mut command = self.lease_command(&SCRIPTS.renew, home, key, lease);
            command.arg(millis(lasts));
            command
        };
        let session = self.session()?;
        Ok(matches!(self.link.call(&session, home, build).await?, Answer::From(_, Value::Int(1))))
    }

    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError> {
        let Payload::Bytes(payload) = payload else {
            return Err(StoreError::Failed(Box::new(NotBytes)));
        };
        if payload.len() > LARGEST {
            return Err(StoreError::Failed(Box::new(TooLarge(payload.len()))));
        }
        let (home, ttl) = (self.names.home(key), ttl.min(MAX_TTL));
        let session = self.session()?;
        let of = Of { home, key };
        if !self.tell_refusal(self.confirm(&session, of, lease, ttl).await)? {
            self.release(key, lease).await?;
            return Ok(Filled::Refused);
        }
        let build = |connection: &Connection| {
            connection.large().note(connection.large().mark(self.names.entry(home, key).as_bytes()), payload.len());
            self.fill_command(of, lease, &payload, ttl)
        };
        let filled = self.link.call(&session, home, build).await;
        match self.tell_refusal(filled)? {
            Answer::From(_, Value::Int(1)) => {
                self.writes.work(self.link.at());
                Ok(Filled::Stored)
            }
            // A slot that is on its way: the partition is cold when it has arrived.
            Answer::From(_, Value::Int(0)) | Answer::OnTheMove => Ok(Filled::Refused),
            Answer::From(..) => Err(unexpected()),
        }
    }

    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError> {
        let home = self.names.home(key);
        let session = self.session()?;
        let build = |_: &Connection| self.lease_command(&SCRIPTS.release, home, key, lease);
        self.link.call(&session, home, build).await.map(drop)
    }

    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError> {
        if targets.is_empty() {
            return Ok(Outcome::Applied);
        }
        Ok(self.kept().invalidate(targets, None).await)
    }

    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError> {
        let mut keys = Vec::new();
        if !targets.iter().all(|target| self.names.of_hold(target, &mut keys)) {
            return Err(StoreError::Failed(Box::new(NotHoldable)));
        }
        let session = self.session()?;
        self.link.hold(&session, targets, keys, holder, lasts.min(MAX_TTL)).await
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError> {
        if targets.is_empty() {
            return Ok(Outcome::Applied);
        }
        Ok(self.kept().invalidate(targets, Some(holder)).await)
    }

    fn feed(&self, nearby: Arc<dyn Nearby>) -> bool {
        self.kept().feed().join(nearby)
    }

    async fn leave(&self) {
        let feed = self.kept().feed();
        feed.resign();
        // Without an answer the lease lapses by then.
        drop(tokio::time::timeout(LAPSE, feed.has_left()).await);
    }

    async fn examine(&self) -> Vec<Finding> {
        self.kept().examine().await
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(self.link.traffic())
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

pub(crate) fn unexpected() -> StoreError {
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
