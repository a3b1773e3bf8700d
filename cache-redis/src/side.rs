//! What else a service keeps in the same Redis: scripts over keys of its own, beside those of the entries, on the same
//! connection and under the same rules.
//!
//! The names of these keys begin with `<namespace>#`, those of entries with `<namespace>:`: no invalidation of the cache touches them,
//! whatever its pattern.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cache_core::store::StoreError;
use redis::{Cmd, PushKind, RedisError, Value};
use sha1::{Digest as _, Sha1};
use tokio::{sync::Notify, time::timeout};

use crate::{
    call_error::CallError,
    connection::{Connection, Listener},
    partition::Partition,
    session::{Answer, Session},
    store::{RedisStore, unexpected},
};

/// Messages wait for a slow subscriber up to this many.
const BACKLOG: usize = 4_096;

/// A subscription that heard nothing for so long asks whether its connection is alive: nobody says so where a network has dropped it.
const SILENCE: Duration = Duration::from_secs(5);

/// How long it may take to subscribe.
const OPENING: Duration = Duration::from_secs(3);

/// A script of a service.
#[derive(Debug)]
pub struct SideScript {
    source: &'static str,
    digest: String,
    takes_incarnation: bool,
}

impl SideScript {
    /// In Lua. It is sent in full where the server does not have it, and by its digest from then on.
    pub fn new(source: &'static str) -> Self {
        let mut digest = String::with_capacity(40);
        for byte in Sha1::digest(source.as_bytes()) {
            write!(digest, "{byte:02x}").expect("writing to a String succeeds");
        }
        Self { source, digest, takes_incarnation: false }
    }

    /// Before all other arguments, the script is given 16 bytes that name the life of the server: other ones after a restart or a failover.
    #[must_use]
    pub fn with_incarnation(mut self) -> Self {
        self.takes_incarnation = true;
        self
    }
}

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing, or of a kind that no script here answers with.
    Nil,
    /// A whole number.
    Int(i64),
    /// Text.
    Bytes(Vec<u8>),
    /// Several.
    List(Vec<Reply>),
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        match value {
            Value::Int(number) => Self::Int(number),
            Value::BulkString(bytes) => Self::Bytes(bytes),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => Self::Bytes(text.into_bytes()),
            Value::Okay => Self::Bytes(b"OK".to_vec()),
            Value::Double(number) => Self::Bytes(number.to_string().into_bytes()),
            Value::Boolean(is_true) => Self::Int(i64::from(is_true)),
            Value::Array(values) | Value::Set(values) => Self::List(values.into_iter().map(Self::from).collect()),
            _ => Self::Nil,
        }
    }
}

impl RedisStore {
    /// Calls a script over the keys `names`, which in a cluster are where `place` says: equal places are on one server. One round trip.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] while Redis is out of reach: nothing was done. [`StoreError::Timeout`] without an answer: it may or may not have
    /// been done, and may be done later. [`StoreError::Failed`] of the script's own error.
    pub async fn call_script(
        &self,
        script: &SideScript,
        place: &str,
        names: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Reply, StoreError> {
        let build = |connection: &Connection, word: &str, code: &str| {
            let mut command = redis::cmd(word);
            command.arg(code).arg(names.len());
            for name in names {
                command.arg(self.names().beside(place, name));
            }
            if script.takes_incarnation {
                command.arg(connection.incarnation());
            }
            for argument in arguments {
                command.arg(*argument);
            }
            command
        };
        let (session, at) = (self.session()?, self.names().place(place));
        let by_digest = |connection: &Connection| build(connection, "EVALSHA", &script.digest);
        match self.send_side(&session, at, by_digest).await {
            Err(CallError::Failed(error)) if is_unknown_script(&*error) => {}
            result => return self.finish(&session, result),
        }
        let in_full = |connection: &Connection| build(connection, "EVAL", script.source);
        let result = self.send_side(&session, at, in_full).await;
        self.finish(&session, result)
    }

    async fn send_side(
        &self,
        session: &Arc<Session>,
        at: Partition,
        build: impl Fn(&Connection) -> Cmd,
    ) -> Result<Option<Reply>, CallError> {
        let bound = self.kept().call_timeout();
        Ok(match session.send(at, bound, build).await? {
            Answer::From(_, value) => Some(value.into()),
            Answer::OnTheMove => None,
        })
    }

    /// Keys on their way to another server are out of reach.
    fn finish(&self, session: &Arc<Session>, result: Result<Option<Reply>, CallError>) -> Result<Reply, StoreError> {
        match result {
            Ok(reply) => reply.ok_or(StoreError::Unavailable),
            Err(error) => match self.kept().settle(session, error) {
                // It had been sent.
                StoreError::Unavailable => Err(StoreError::Timeout),
                error => Err(error),
            },
        }
    }

    /// Hears what is published on channels of the namespace, over a connection of its own.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] while Redis is out of reach; [`StoreError::Failed`] where it does not speak RESP3 or refuses.
    pub async fn listen(&self, place: &str, channels: &[&str]) -> Result<Listening, StoreError> {
        let session = self.session()?;
        let link = self.kept();
        if !link.address().is_resp3 {
            return Err(unexpected());
        }
        let heard = Arc::new(Heard::default());
        let listener: Listener = {
            let heard = Arc::clone(&heard);
            Box::new(move |push| match (push.kind, push.data.as_slice()) {
                (PushKind::Disconnection, _) => heard.end(),
                (PushKind::Message, [Value::BulkString(channel), Value::BulkString(message)]) => {
                    heard.take(channel.clone(), message.clone());
                }
                _ => {}
            })
        };
        let server = session.connection(self.names().place(place)).server().clone();
        let opened = timeout(OPENING, Connection::open(link.address(), &server, listener)).await;
        let connection = match opened {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(StoreError::Failed(Box::new(error))),
            Err(_) => return Err(StoreError::Timeout),
        };
        let channels: Vec<_> = channels.iter().map(|channel| self.names().beside(place, channel)).collect();
        let names: Vec<&str> = channels.iter().map(String::as_str).collect();
        match connection.subscribe(&names, link.call_timeout()).await {
            Ok(()) => Ok(Listening { heard, connection, bound: link.call_timeout() }),
            Err(CallError::Failed(error)) => Err(StoreError::Failed(error)),
            Err(_) => Err(StoreError::Unavailable),
        }
    }

    /// The bound on each call.
    pub fn call_timeout(&self) -> Duration {
        self.kept().call_timeout()
    }

    /// The name of a channel in Redis, for a script that publishes.
    pub fn side_name(&self, place: &str, name: &str) -> String {
        self.names().beside(place, name)
    }
}

fn is_unknown_script(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<RedisError>().is_some_and(|error| error.code() == Some("NOSCRIPT"))
}

/// What was heard and not taken yet.
#[derive(Debug, Default)]
struct Heard {
    messages: Mutex<Backlog>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<(Vec<u8>, Vec<u8>)>,
    is_over: bool,
}

impl Heard {
    /// Who is too slow loses the subscription, so that nothing goes missing unnoticed.
    fn take(&self, channel: Vec<u8>, message: Vec<u8>) {
        let mut messages = self.backlog();
        if messages.waiting.len() < BACKLOG {
            messages.waiting.push_back((channel, message));
        } else {
            messages.is_over = true;
        }
        drop(messages);
        self.news.notify_one();
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.backlog().is_over = true;
        self.news.notify_one();
    }
}

/// A subscription. Dropped, it ends.
#[derive(Debug)]
pub struct Listening {
    heard: Arc<Heard>,
    connection: Connection,
    /// On each call.
    bound: Duration,
}

impl Listening {
    /// The next message with its channel, without the namespace. `None`: the connection was lost, or the subscriber was too slow.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        loop {
            {
                let mut messages = self.heard.backlog();
                if let Some(message) = messages.waiting.pop_front() {
                    return Some(message);
                }
                if messages.is_over {
                    return None;
                }
            }
            let is_silent = timeout(SILENCE, self.heard.news.notified()).await.is_err();
            if is_silent {
                // Any answer will do, also that this user may not ask.
                let answer = self.connection.send(&redis::cmd("PING"), self.bound).await;
                if matches!(answer, Err(CallError::Timeout { .. } | CallError::OutOfReach(_))) {
                    self.heard.end();
                }
            }
        }
    }
}
