//! One sentinel.

use std::{collections::HashMap, sync::Arc};

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, FromRedisValue, PushInfo, PushKind, RedisError, Value,
    aio::MultiplexedConnection,
};
use tokio::sync::Notify;

use super::votes::{Answer, Other, Server};
use crate::{config::place, error::ConnectError, kind::Kind};

/// What sentinels publish when another server has become the primary.
const SWITCH: &str = "+switch-master";

/// An open connection to a sentinel.
#[derive(Clone, Debug)]
pub(super) struct Sentinel {
    connection: MultiplexedConnection,
    info: ConnectionInfo,
    id: String,
}

impl Sentinel {
    /// Connects, and asks to be told when the primary changes.
    pub(super) async fn open(info: &ConnectionInfo, switched: Arc<Notify>) -> Result<Self, ConnectError> {
        let refused = |error| refusal(info, error);
        let is_resp3 = info.redis_settings().protocol().supports_resp3();
        // Who asks has a bound on the whole.
        let mut config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        if is_resp3 {
            config = config.set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Message {
                    switched.notify_one();
                }
                Ok::<(), ()>(())
            });
        }
        let opening = Client::open(info.clone()).map_err(refused)?;
        let mut connection = opening.get_multiplexed_async_connection_with_config(&config).await.map_err(refused)?;
        let id = match sentinel("MYID").query_async(&mut connection).await {
            Ok(id) => id,
            Err(error) if is_unknown_command(&error) => return Err(no_sentinel(info, &mut connection).await),
            Err(error) if error.kind() == ErrorKind::Io => return Err(refused(error)),
            // It does not tell its name, which nobody else has got either.
            Err(_) => place(info),
        };
        if is_resp3 {
            // Without it the heartbeat notices.
            drop(connection.subscribe(SWITCH).await);
        }
        Ok(Self { connection, info: info.clone(), id })
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Asks for the primary of the service, and if `all` for the other sentinels.
    pub(super) async fn ask(&self, service: &str, all: bool) -> Result<Answer, ConnectError> {
        let mut connection = self.connection.clone();
        let mut questions = redis::pipe();
        for question in ["GET-MASTER-ADDR-BY-NAME", "MASTER", "SENTINELS"].into_iter().take(if all { 3 } else { 2 }) {
            questions.cmd("SENTINEL").arg(question).arg(service);
        }
        let replies = connection.send_packed_commands(&questions, 0, questions.len()).await;
        let mut replies = replies.map_err(|error| refusal(&self.info, error))?.into_iter();
        let mut next = || replies.next().unwrap_or(Value::Nil);
        let primary: Option<Server> = read(next()).map_err(|error| refusal(&self.info, error))?;
        let Some(primary) = primary else {
            return Err(self.unknown(service).await);
        };
        // A user that may not ask for all this gets an answer all the same.
        let master: HashMap<String, String> = read(next()).unwrap_or_default();
        let others: Vec<HashMap<String, String>> = read(next()).unwrap_or_default();
        let epoch = master.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        Ok(Answer { id: self.id.clone(), primary, epoch, others: others.into_iter().filter_map(other).collect() })
    }

    async fn unknown(&self, service: &str) -> ConnectError {
        let services: Result<Vec<HashMap<String, String>>, _> =
            sentinel("MASTERS").query_async(&mut self.connection.clone()).await;
        let name = |mut service: HashMap<String, String>| service.remove("name");
        let known = services.unwrap_or_default().into_iter().filter_map(name).collect();
        ConnectError::UnknownService { at: place(&self.info), service: service.to_owned(), known }
    }
}

fn sentinel(question: &str) -> redis::Cmd {
    let mut command = redis::cmd("SENTINEL");
    command.arg(question);
    command
}

fn read<T: FromRedisValue>(reply: Value) -> Result<T, RedisError> {
    Ok(redis::from_redis_value(reply.extract_error()?)?)
}

fn other(mut sentinel: HashMap<String, String>) -> Option<Other> {
    let port = sentinel.get("port")?.parse().ok()?;
    let host = sentinel.remove("ip").filter(|host| !host.is_empty())?;
    Some(Other { id: sentinel.remove("runid")?, host, port })
}

fn is_unknown_command(error: &RedisError) -> bool {
    error.to_string().to_ascii_lowercase().contains("unknown command")
}

/// What answers instead of a sentinel.
async fn no_sentinel(info: &ConnectionInfo, connection: &mut MultiplexedConnection) -> ConnectError {
    let about: Result<String, _> = redis::cmd("INFO").arg("server").query_async(connection).await;
    let kind = about.ok().and_then(|about| Kind::of_info(&about)).unwrap_or(Kind::Single);
    kind.instead_of(Kind::Sentinel, info)
}

fn refusal(info: &ConnectionInfo, error: RedisError) -> ConnectError {
    match ConnectError::of_opening(&place(info), 0, error) {
        ConnectError::Auth { at, source } => ConnectError::SentinelAuth { at, source },
        error => error,
    }
}
