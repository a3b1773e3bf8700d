//! Looking into what is in Redis.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Key, Tag,
    inspect::{Cursor, Described, Inspect, Kind, LARGEST, Lost, Paths, Server},
    store::{Read, StoreError},
};
use futures_util::future::{join_all, try_join_all};
use redis::{Cmd, Value};

use crate::{
    connection::{Connection, checked, field, info_command},
    entry::{Entry, HEAD},
    reads::Part,
    session::Answer,
    store::{RedisStore, unexpected},
};

/// How many keys one step of a walk looks at.
const SCAN_COUNT: usize = 1_000;

/// For how long one part of a walk goes on without having found enough.
const LONGEST: Duration = Duration::from_millis(500);

/// How much of an entry tells what it is: its own head, and the header of the value.
const SHOWN: usize = HEAD + 64;

/// What `PTTL` says of a key that is not there.
const NOT_THERE: i64 = -2;

/// How many entries are described at a time.
const AT_ONCE: usize = 200;

#[async_trait]
impl Inspect for RedisStore {
    async fn walk(&self, glob: &str, from: Option<&Cursor>, count: usize) -> Result<Paths, StoreError> {
        let session = self.session()?;
        let bound = self.kept().call_timeout();
        let pattern = self.names().pattern(glob);
        let mut owners: Vec<&Connection> = session.owners().into_iter().map(|(connection, _)| connection).collect();
        owners.sort_by(|one, other| one.at().cmp(other.at()));
        let (mut owner, mut cursor) = match from {
            None => (0, 0),
            Some(from) => place(from, &owners).ok_or_else(|| StoreError::Failed(Box::new(Lost(from.to_string()))))?,
        };
        let (began, mut paths) = (Instant::now(), Vec::new());
        while let Some(connection) = owners.get(owner) {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT.min(10 * count));
            let page = connection.send(&scan, bound).await.and_then(checked);
            let page = page.map_err(|error| self.kept().settle(&session, error))?;
            let (next, keys): (u64, Vec<Vec<u8>>) = redis::from_redis_value(page).map_err(|_| unexpected())?;
            paths.extend(keys.iter().filter_map(|key| self.names().path_of(key)));
            (owner, cursor) = if next == 0 { (owner + 1, 0) } else { (owner, next) };
            if paths.len() >= count || began.elapsed() > LONGEST {
                break;
            }
        }
        let next = owners.get(owner).map(|connection| Cursor::new(format!("{cursor}@{}", connection.at())));
        Ok(Paths { paths, next })
    }

    async fn describe(&self, keys: &[Key]) -> Result<Vec<Option<Described>>, StoreError> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            all.extend(try_join_all(keys.iter().map(|key| self.describe_one(key))).await?);
        }
        Ok(all)
    }

    async fn bytes(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let last = HEAD + LARGEST - 1;
        let value = self.ask(key, |name| range(name, last)).await?;
        let Some(Value::BulkString(bytes)) = value else { return Ok(None) };
        let bytes = Bytes::from(bytes);
        let is_value = matches!(Entry::parse(&bytes), Entry::Value { .. });
        Ok(is_value.then(|| bytes.slice(HEAD..)))
    }

    async fn has_tag(&self, tag: &Tag) -> Result<Option<bool>, StoreError> {
        let (at, name) = self.names().tag_token(tag);
        let mut command = redis::cmd("EXISTS");
        command.arg(name);
        let session = self.session()?;
        Ok(match self.kept().call(&session, at, |_| command.clone()).await? {
            Answer::From(_, Value::Int(count)) => Some(count > 0),
            Answer::From(..) | Answer::OnTheMove => None,
        })
    }

    async fn servers(&self) -> Result<Vec<Server>, StoreError> {
        let session = self.session()?;
        let bound = self.kept().call_timeout();
        Ok(join_all(session.connections().map(|connection| describe_server(connection, bound))).await)
    }
}

impl RedisStore {
    async fn describe_one(&self, key: &Key) -> Result<Option<Described>, StoreError> {
        let (ttl, bytes, head, read) = tokio::join!(
            self.ask(key, |name| one("PTTL", name)),
            self.ask(key, |name| one("STRLEN", name)),
            self.ask(key, |name| range(name, SHOWN - 1)),
            self.read_part(key, Part::Head),
        );
        let (Some(Value::Int(ttl)), Some(bytes), Some(head)) = (ttl?, bytes?, head?) else { return Ok(None) };
        if ttl == NOT_THERE {
            return Ok(None);
        }
        // What is no string has neither length nor head.
        let bytes = if let Value::Int(bytes) = bytes { u64::try_from(bytes).unwrap_or(0) } else { 0 };
        let head = if let Value::BulkString(head) = head { Bytes::from(head) } else { Bytes::new() };
        let (kind, id) = match Entry::parse(&head[..head.len().min(HEAD)]) {
            Entry::Value { id, .. } => (Kind::Value, Some(id)),
            Entry::Lease { .. } if head.len() == HEAD => (Kind::Loading, None),
            Entry::Held => (Kind::Held, None),
            Entry::Lease { .. } | Entry::Garbage => (Kind::Foreign, None),
        };
        Ok(Some(Described {
            kind,
            ttl: u64::try_from(ttl).ok().map(Duration::from_millis),
            bytes,
            fits: matches!(read?, Read::Hit(stored) if Some(stored.id) == id),
            head: (kind == Kind::Value).then(|| head.slice(HEAD..)),
            meta: None,
        }))
    }

    /// A command about what lies at an entry; `None` while its slot is on the move.
    async fn ask(&self, key: &Key, command: impl Fn(&str) -> Cmd + Sync) -> Result<Option<Value>, StoreError> {
        let home = self.names().home(key);
        let command = command(&self.names().entry(home, key));
        match self.kept().call(&self.session()?, home, |_| command.clone()).await {
            Ok(Answer::From(_, value)) => Ok(Some(value)),
            Ok(Answer::OnTheMove) => Ok(None),
            // Of another type than ours.
            Err(StoreError::Failed(error)) if error.to_string().contains("WRONGTYPE") => Ok(Some(Value::Nil)),
            Err(error) => Err(error),
        }
    }
}

/// Which of the servers, and where on it.
fn place(cursor: &Cursor, owners: &[&Connection]) -> Option<(usize, u64)> {
    let (number, at) = cursor.as_str().split_once('@')?;
    let owner = owners.iter().position(|connection| connection.at() == at)?;
    Some((owner, number.parse().ok()?))
}

fn one(command: &str, name: &str) -> Cmd {
    let mut command = redis::cmd(command);
    command.arg(name);
    command
}

fn range(name: &str, last: usize) -> Cmd {
    let mut command = one("GETRANGE", name);
    command.arg(0).arg(last);
    command
}

/// What a server says of itself, as far as it does.
async fn describe_server(connection: &Connection, bound: Duration) -> Server {
    let mut info = String::new();
    for section in ["server", "clients", "memory", "stats", "replication", "keyspace"] {
        let reply = connection.send(&info_command(section), bound).await.and_then(checked);
        if let Some(text) = reply.ok().and_then(|reply| redis::from_redis_value::<String>(reply).ok()) {
            info.push_str(&text);
        }
    }
    let size = connection.send(&redis::cmd("DBSIZE"), bound).await;
    let number = |name| field(&info, name).and_then(|text| text.parse().ok());
    let mut server = Server::new(connection.at());
    let version = |name: &str, key| field(&info, key).map(|version| format!("{name} {version}"));
    server.version = version("Valkey", "valkey_version").or_else(|| version("Redis", "redis_version"));
    server.uptime_seconds = number("uptime_in_seconds");
    server.memory_bytes = number("used_memory");
    server.memory_limit_bytes = number("maxmemory");
    server.eviction_policy = field(&info, "maxmemory_policy").map(str::to_owned);
    server.evicted_keys = number("evicted_keys");
    server.expired_keys = number("expired_keys");
    server.clients = number("connected_clients");
    server.replicas = number("connected_slaves");
    server.commands_per_second = number("instantaneous_ops_per_sec");
    server.keys = match size {
        Ok(Value::Int(keys)) => u64::try_from(keys).ok(),
        _ => None,
    };
    server
}
