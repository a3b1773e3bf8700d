//! Why a store could not be connected.

use std::{error::Error, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a store could not be connected. No variant tells the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL cannot be read.
    #[error("the Redis URL is not valid: {0}")]
    InvalidUrl(&'static str),
    /// The URL has a query option that does not exist.
    #[error("the Redis URL has an unknown option{}; the options are: {valid}", Named(.option.as_deref()))]
    UnknownOption {
        /// The option, unless it may be part of a password that was not percent-encoded.
        option: Option<String>,
        /// The options of this kind of URL.
        valid: &'static str,
    },
    /// Redis refused the user or the password, or the user lacks a permission.
    #[error("Redis at {at} refused the user: {source}")]
    Auth {
        /// Host and port, or the socket.
        at: String,
        /// Redis' answer.
        source: RedisError,
    },
    /// A sentinel refused the user or the password that is for sentinels.
    #[error("the sentinel at {at} refused the user (for sentinels: sentinel_user, sentinel_pass): {source}")]
    SentinelAuth {
        /// Host and port.
        at: String,
        /// The sentinel's answer.
        source: RedisError,
    },
    /// There is no database of that number.
    #[error("Redis at {at} has no database {database}")]
    BadDatabase {
        /// Host and port, or the socket.
        at: String,
        /// The number in the URL.
        database: i64,
    },
    /// The server is of another kind than the URL says.
    #[error("Redis at {at} is {found}: use {scheme}://")]
    WrongKind {
        /// Host and port, or the socket.
        at: String,
        /// What it is.
        found: &'static str,
        /// How a URL for this kind begins.
        scheme: &'static str,
    },
    /// The sentinels do not know the service that the URL names.
    #[error("the sentinel at {at} knows no service `{service}`{}", Known(.known))]
    UnknownService {
        /// Host and port of the sentinel.
        at: String,
        /// The name in the URL.
        service: String,
        /// The names that it knows.
        known: Vec<String>,
    },
    /// The TLS settings or the server's certificate are not valid.
    #[error("TLS with Redis at {at} failed: {source}")]
    Tls {
        /// Host and port.
        at: String,
        /// What is wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server or this build lacks something that the URL asks for.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The [journal file](crate::RedisConfig::journal_file) cannot be used.
    #[error("the journal file {} cannot be used: {source}", .path.display())]
    JournalFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nothing that can be used answered. Only with [`RedisConfig::require`](crate::RedisConfig::require).
    #[error("Redis at {at} cannot be reached: {source}")]
    Unreachable {
        /// Host and port, or the socket.
        at: String,
        /// What happened.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ConnectError {
    /// Whether trying again later may work with nothing changed on this side.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    pub(crate) fn unreachable(at: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable { at: at.to_owned(), source: source.into() }
    }

    /// Tells what a refusal while opening a connection means.
    pub(crate) fn of_opening(at: &str, database: i64, error: RedisError) -> Self {
        let at = at.to_owned();
        // A pipeline's error hides those of its commands.
        let refusals = error.clone().into_server_errors();
        let code = refusals.as_ref().and_then(|refusals| refusals.first()).map_or("", |(_, refusal)| refusal.code());
        if error.kind() == ErrorKind::AuthenticationFailed || matches!(code, "WRONGPASS" | "NOAUTH" | "NOPERM") {
            return Self::Auth { at, source: error };
        }
        let text = error.to_string();
        if text.contains("DB index") || text.contains("switch database") {
            return Self::BadDatabase { at, database };
        }
        if error.kind() == ErrorKind::RESP3NotSupported {
            return Self::Unsupported("this server is older than Redis 6: add `?protocol=resp2` to the URL");
        }
        if is_tls(&error) {
            return Self::Tls { at, source: Box::new(error) };
        }
        Self::Unreachable { at, source: Box::new(error) }
    }
}

/// Whether the error says that this server cannot be used now, rather than that it could not do this one thing.
pub(crate) fn is_out_of_reach(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};

    match error.kind() {
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::AuthenticationFailed
        | ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly) => true,
        // Before version 7 an error within a script comes as text within another.
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            error.detail().is_some_and(|detail| detail.contains("-READONLY") || detail.contains("-MASTERDOWN"))
        }
        _ => matches!(error.code(), Some("NOAUTH")) || error.is_unrecoverable_error(),
    }
}

/// rustls reports what it refuses as an I/O error of invalid data, which a `RedisError` holds in an `Arc`.
fn is_tls(error: &RedisError) -> bool {
    let shared = error.source().and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let io = shared.and_then(|shared| shared.downcast_ref::<io::Error>());
    cfg!(feature = "tls") && io.is_some_and(|io| io.kind() == io::ErrorKind::InvalidData)
}

/// No answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(crate) struct NoAnswer(pub(crate) Duration);

/// A reply that no script gives.
#[derive(Debug, thiserror::Error)]
#[error("Redis answered something unexpected")]
pub(crate) struct UnexpectedReply;

/// A value that Redis cannot take. Sending it would make Redis close the connection.
#[derive(Debug, thiserror::Error)]
#[error("a value of {0} bytes is more than Redis takes")]
pub(crate) struct TooLarge(pub(crate) usize);

/// A slot of the cluster is on its way from one primary to another, and the call could not be split.
#[derive(Debug, thiserror::Error)]
#[error("the keys are on their way to another server of the cluster")]
pub(crate) struct OnTheMove;

/// An object was given to a store of bytes.
#[derive(Debug, thiserror::Error)]
#[error("the Redis store holds bytes, not objects")]
pub(crate) struct NotBytes;

struct Known<'a>(&'a [String]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(", and no other") } else { write!(f, ", only: {}", self.0.join(", ")) }
    }
}

struct Named<'a>(Option<&'a str>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |option| write!(f, " `{option}`"))
    }
}
