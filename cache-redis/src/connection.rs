//! One open connection, and the incarnation of the server behind it.
//!
//! A connection belongs to one server at one time of its life: what it answers is compared with a root of that
//! incarnation only. It is never repaired; when it fails it is given up and another is opened.

mod large;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, ServerErrorKind,
    Value, aio::MultiplexedConnection,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout},
};
use tracing::{Instrument as _, Span};

pub(crate) use self::large::Large;
use crate::{
    call_error::CallError,
    config::{Address, Topology, place},
    error::{ConnectError, UnexpectedReply},
    kind::Kind,
    reads::Reads,
    script::SCRIPTS,
    trace::{self, Reply},
    traffic::Counts,
    wire,
};

/// What tells one life of a server from another: the start of its replication id, which changes with every restart and
/// every promotion.
pub(crate) type Incarnation = [u8; 16];

/// Stands where a server tells neither its replication id nor its run id.
const UNKNOWN: Incarnation = *b"----------------";

/// How many calls may wait to be written.
const WRITE_QUEUE: usize = 1_024;

/// Is given what the server says unasked, in the order in which it comes between the replies.
pub(crate) type Listener = Box<dyn Fn(PushInfo) + Send + Sync>;

/// Tells when the server closes the connection.
pub(crate) fn closing(closed: &Arc<Notify>) -> Listener {
    let closed = Arc::clone(closed);
    Box::new(move |push| {
        if push.kind == PushKind::Disconnection {
            closed.notify_one();
        }
    })
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Host and port of the server, or its socket.
    at: String,
    server: ConnectionInfo,
    multiplexed: MultiplexedConnection,
    incarnation: Incarnation,
    /// The server's process, if it tells.
    process: Option<Incarnation>,
    /// Timeouts since the last answer.
    strikes: AtomicU32,
    opened: Instant,
    /// For how long the server had been running then, at least. Zero where it does not tell.
    uptime: Duration,
    reads: Reads,
    large: Large,
    counts: Arc<Counts>,
}

/// Which way to the server a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    First,
    /// That of large values, if it is open.
    Large,
}

impl Connection {
    /// Connects to this server, one of those at the address; authenticates, loads the scripts and asks who it is.
    pub(crate) async fn open(
        address: &Address,
        server: &ConnectionInfo,
        listener: Listener,
    ) -> Result<Self, ConnectError> {
        let at = &called(address, server);
        let refused = |error| ConnectError::of_opening(at, address.database, error);
        let (mut multiplexed, about) = greet(address, server, options(address, Some(listener))).await?;
        SCRIPTS.load().exec_async(&mut multiplexed).await.map_err(refused)?;
        let replication = info(&mut multiplexed, "replication").await.map_err(refused)?;
        if field(&replication, "role") == Some("slave") {
            return Err(ConnectError::unreachable(at, "a replica answered"));
        }
        let incarnation = incarnation_by(&replication, &about).unwrap_or_else(|| {
            tracing::warn!(at, "Redis hides its replication id and its run id; restarts and failovers cannot be told");
            UNKNOWN
        });
        if field(&replication, "master_replid").is_none() && incarnation != UNKNOWN {
            tracing::info!(at, "Redis hides its replication id; restarts are told by its run id");
        }
        let uptime = field(&about, "uptime_in_seconds").map(str::parse);
        // The server counts in whole seconds.
        let uptime = Duration::from_secs(uptime.and_then(Result::ok).unwrap_or(0_u64).saturating_sub(1));
        let (strikes, opened) = (AtomicU32::new(0), Instant::now());
        let (at, server, reads, large) = (place(server), server.clone(), Reads::default(), Large::new());
        let (counts, process) = (Arc::clone(&address.counts), process(&about));
        Ok(Self { at, server, multiplexed, incarnation, process, strikes, opened, uptime, reads, large, counts })
    }

    /// Where its server is, for logs and to tell it from others.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// How to connect to its server once more.
    pub(crate) fn server(&self) -> &ConnectionInfo {
        &self.server
    }

    /// What is being read that way.
    pub(crate) fn reads(&self, way: Way) -> &Reads {
        match way {
            Way::First => &self.reads,
            Way::Large => self.large.reads(),
        }
    }

    /// What is known of large values.
    pub(crate) fn large(&self) -> &Large {
        &self.large
    }

    /// Whether the server's process was there already at that time.
    pub(crate) fn was_up_at(&self, time: Instant) -> bool {
        !self.uptime.is_zero() && self.opened.checked_sub(self.uptime).is_none_or(|began| began <= time)
    }

    /// Whether the data are known to be those of one of these servers, which were seen before.
    pub(crate) fn is_one_of(&self, incarnations: &[Incarnation]) -> bool {
        incarnations.contains(&self.incarnation) && self.incarnation != UNKNOWN
    }

    pub(crate) fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    /// Whether the server behind the connection still is the one that it was opened on.
    pub(crate) async fn is_same_incarnation(&self, bound: Duration) -> Result<bool, CallError> {
        if self.incarnation == UNKNOWN {
            return Ok(true);
        }
        let command = info_command("replication");
        let reply = self.send(&command, bound).await?;
        let replication: String = redis::from_redis_value(reply).map_err(RedisError::from)?;
        // A run id never changes while a connection lives.
        Ok(incarnation(&replication, "master_replid").is_none_or(|now| now == self.incarnation))
    }

    /// Sends one command. A script that the server has lost is loaded again, once.
    pub(crate) async fn send(&self, command: &Cmd, bound: Duration) -> Result<Value, CallError> {
        match self.send_once(command, bound).await? {
            Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript) => {
                self.load_scripts(bound).await?;
                let reply = self.send_once(command, bound).await?;
                Ok(reply.extract_error()?)
            }
            Value::ServerError(error) => Err(RedisError::from(error).into()),
            reply => Ok(reply),
        }
    }

    /// Sends commands at once. All of them may be sent a second time, after the scripts have been loaded again. Each has its
    /// own reply, which may be an error.
    pub(crate) async fn send_all(&self, commands: &Pipeline, bound: Duration) -> Result<Vec<Value>, CallError> {
        let replies = self.send_all_once(commands, bound).await?;
        if !replies.iter().any(is_no_script) {
            return Ok(replies);
        }
        self.load_scripts(bound).await?;
        self.send_all_once(commands, bound).await
    }

    /// From now on the listener is given what is published there.
    pub(crate) async fn subscribe(&self, channels: &[&str], bound: Duration) -> Result<(), CallError> {
        let mut connection = self.multiplexed.clone();
        let span = trace::of_command(&self.server, redis::cmd("SUBSCRIBE").arg(channels));
        self.bounded(Way::First, bound, span, connection.subscribe(channels)).await
    }

    async fn load_scripts(&self, bound: Duration) -> Result<(), CallError> {
        let replies = self.send_all_once(&SCRIPTS.load(), bound).await?;
        replies.into_iter().try_for_each(|reply| checked(reply).map(drop))
    }

    async fn send_once(&self, command: &Cmd, bound: Duration) -> Result<Value, CallError> {
        match self.large.to_carry(command) {
            Some(large) => self.send_apart(&large, command, bound).await,
            None => self.send_first(command, bound).await,
        }
    }

    async fn send_first(&self, command: &Cmd, bound: Duration) -> Result<Value, CallError> {
        let mut connection = self.multiplexed.clone();
        let span = trace::of_command(&self.server, command);
        self.bounded(Way::First, bound, span, connection.send_packed_command(command)).await
    }

    /// Sends a command that may be executed twice over the connection for large values, and if that is lost over the first one.
    async fn send_apart(
        &self,
        large: &MultiplexedConnection,
        command: &Cmd,
        bound: Duration,
    ) -> Result<Value, CallError> {
        let mut connection = large.clone();
        let span = trace::of_command(&self.server, command);
        match self.bounded(Way::Large, bound, span, connection.send_packed_command(command)).await {
            Err(error @ CallError::OutOfReach(_)) => {
                self.large.lose(&error);
                self.send_first(command, bound).await
            }
            result => result,
        }
    }

    /// Sends a command that only reads.
    pub(crate) async fn ask(&self, way: Way, command: &Cmd, bound: Duration) -> Result<Value, CallError> {
        match self.large.open().filter(|_| way == Way::Large) {
            Some(large) => checked(self.send_apart(&large, command, bound).await?),
            None => self.send(command, bound).await,
        }
    }

    async fn send_all_once(&self, commands: &Pipeline, bound: Duration) -> Result<Vec<Value>, CallError> {
        let mut connection = self.multiplexed.clone();
        let span = trace::of_pipeline(&self.server, commands);
        self.bounded(Way::First, bound, span, connection.send_packed_commands(commands, 0, commands.len())).await
    }

    /// One round trip.
    async fn bounded<T: Reply>(
        &self,
        way: Way,
        bound: Duration,
        span: Span,
        call: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, CallError> {
        let strikes = self.strikes(way).load(Ordering::Relaxed);
        self.counts.round_trips.add(1);
        let mut call = pin!(timeout(bound, call).instrument(span));
        let result = match call.as_mut().await {
            Ok(result) => {
                if strikes != 0 {
                    self.strikes(way).store(0, Ordering::Relaxed);
                }
                result.map_err(CallError::from)
            }
            Err(_) => Err(self.timed_out(way, strikes)),
        };
        match &result {
            Ok(reply) => trace::answered(call.span(), reply),
            Err(error) => trace::failed(call.span(), error),
        }
        result
    }

    /// Waits for the answer to a command that another sends.
    pub(crate) async fn wait<T>(
        &self,
        way: Way,
        bound: Duration,
        answered: oneshot::Receiver<Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let strikes = self.strikes(way).load(Ordering::Relaxed);
        let mut waiting = pin!(timeout(bound, answered).instrument(trace::of_shared_read()));
        let result = match waiting.as_mut().await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(CallError::Failed(Box::new(UnexpectedReply)))),
            Err(_) => Err(self.timed_out(way, strikes)),
        };
        result.inspect_err(|error| trace::failed(waiting.span(), error))
    }

    fn strikes(&self, way: Way) -> &AtomicU32 {
        match way {
            Way::First => &self.strikes,
            Way::Large => self.large.strikes(),
        }
    }

    /// Counts a timeout of a call that began when there had been `before` of them. One stall that many calls run into is
    /// one strike: only the first of them finds the count as it was. Those of the way for large values say nothing of the first one,
    /// and after some of them it is given up.
    fn timed_out(&self, way: Way, before: u32) -> CallError {
        self.counts.timeouts.add(1);
        let strikes = self.strikes(way);
        let now = match strikes.compare_exchange(before, before + 1, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => before + 1,
            Err(now) => now,
        };
        match way {
            Way::First => CallError::Timeout { strikes: now },
            Way::Large => {
                let error = CallError::Timeout { strikes: 0 };
                self.large.lose_after(now, &error);
                error
            }
        }
    }
}

/// The server, for errors.
pub(crate) fn called(address: &Address, server: &ConnectionInfo) -> String {
    match &address.topology {
        Topology::Sentinel { service, .. } => {
            format!("{} (the primary of {service}, by its sentinels)", place(server))
        }
        _ => place(server),
    }
}

/// A reply, unless it is an error.
pub(crate) fn checked(reply: Value) -> Result<Value, CallError> {
    Ok(reply.extract_error()?)
}

/// Connects, authenticates, and makes sure that the server is of the kind that the address says. Returns also what the
/// server tells of itself.
pub(crate) async fn greet(
    address: &Address,
    server: &ConnectionInfo,
    config: AsyncConnectionConfig,
) -> Result<(MultiplexedConnection, String), ConnectError> {
    let refused = |error| ConnectError::of_opening(&place(server), address.database, error);
    let mut connection = match wire::open(address, server, config).await {
        Ok(connection) => connection,
        Err(error) => {
            Kind::of_refusal(&error).map_or(Ok(()), |kind| kind.check(&address.topology, server))?;
            return Err(refused(error));
        }
    };
    let about = info(&mut connection, "server").await.map_err(refused)?;
    Kind::of_info(&about).map_or(Ok(()), |kind| kind.check(&address.topology, server))?;
    Ok((connection, about))
}

/// How connections are opened.
pub(crate) fn options(address: &Address, listener: Option<Listener>) -> AsyncConnectionConfig {
    let config = AsyncConnectionConfig::new()
        // Every call is bounded by the session, the opening as a whole by its caller.
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(WRITE_QUEUE);
    let Some(listener) = listener.filter(|_| address.is_resp3) else {
        // Nothing tells of the loss then but the next call.
        return config;
    };
    config.set_push_sender(move |push: PushInfo| {
        listener(push);
        Ok::<(), ()>(())
    })
}

pub(crate) fn info_command(section: &str) -> Cmd {
    let mut command = redis::cmd("INFO");
    command.arg(section);
    command
}

/// A section of `INFO`, empty where the user may not read it.
async fn info(connection: &mut MultiplexedConnection, section: &str) -> Result<String, RedisError> {
    match info_command(section).query_async(connection).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(String::new()),
        result => result,
    }
}

/// Which process a server is, by what it says of itself: nothing else has the same, not even its replicas.
fn process(about: &str) -> Option<Incarnation> {
    incarnation(about, "run_id")
}

fn incarnation_by(replication: &str, about: &str) -> Option<Incarnation> {
    incarnation(replication, "master_replid").or_else(|| incarnation(about, "run_id"))
}

fn incarnation(info: &str, name: &str) -> Option<Incarnation> {
    field(info, name)?.as_bytes().first_chunk().copied()
}

pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn is_no_script(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let info = "# Replication\r\nrole:master\r\nmaster_replid2:0000\r\nmaster_replid:0123456789abcdef0123\r\n";
        assert_eq!(field(info, "role"), Some("master"));
        assert_eq!(incarnation(info, "master_replid"), Some(*b"0123456789abcdef"));
        assert_eq!(incarnation(info, "master_replid2"), None, "too short");
        assert_eq!(field(info, "run_id"), None);
    }
}
