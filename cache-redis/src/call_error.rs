//! Why a call had no result.

use std::{borrow::Cow, error::Error, fmt};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{UnexpectedReply, is_out_of_reach};

/// Why a call had no result.
#[derive(Debug)]
pub(crate) enum CallError {
    /// No answer in time. `strikes` is how many times in a row now.
    Timeout { strikes: u32 },
    /// The server cannot be used at present.
    OutOfReach(RedisError),
    /// Nothing was done: the keys are at another server, whose host and port these are.
    Moved(String),
    /// Nothing was done: the keys are on their way to another server, perhaps to this one.
    OnTheMove(Option<String>),
    /// This server has become the primary instead.
    Deposed(String),
    /// The server could not do this.
    Failed(Box<dyn Error + Send + Sync>),
}

impl CallError {
    /// Of several errors at once, the gravest says what is to become of the session.
    pub(crate) fn gravity(&self) -> u32 {
        match self {
            Self::Failed(_) => 0,
            Self::OnTheMove(_) => 1,
            Self::Timeout { strikes } => 2 + strikes.min(&1_000),
            Self::Moved(_) | Self::Deposed(_) => 2_000,
            Self::OutOfReach(_) => 3_000,
        }
    }

    /// What it is, in one of few words: a code of the server's where it is one.
    pub(crate) fn kind(&self) -> Cow<'static, str> {
        let of_redis =
            |error: &RedisError| error.code().map_or(Cow::Borrowed("io"), |code| Cow::Owned(code.to_owned()));
        match self {
            Self::Timeout { .. } => Cow::Borrowed("timeout"),
            Self::OutOfReach(error) => of_redis(error),
            Self::Moved(_) => Cow::Borrowed("MOVED"),
            Self::OnTheMove(_) => Cow::Borrowed("ASK"),
            Self::Deposed(_) => Cow::Borrowed("deposed"),
            Self::Failed(error) => error.downcast_ref().map_or(Cow::Borrowed("_OTHER"), of_redis),
        }
    }

    /// The same, for another caller that it concerns.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Timeout { strikes } => Self::Timeout { strikes: *strikes },
            Self::OutOfReach(error) => Self::OutOfReach(error.clone()),
            Self::Moved(to) => Self::Moved(to.clone()),
            Self::OnTheMove(to) => Self::OnTheMove(to.clone()),
            Self::Deposed(successor) => Self::Deposed(successor.clone()),
            Self::Failed(error) => match error.downcast_ref::<RedisError>() {
                Some(error) => Self::Failed(Box::new(error.clone())),
                None => Self::Failed(Box::new(UnexpectedReply)),
            },
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { strikes } => write!(f, "no answer in time, {strikes} in a row"),
            Self::OutOfReach(error) => error.fmt(f),
            Self::Moved(to) => write!(f, "keys have moved to {to}"),
            Self::OnTheMove(_) => f.write_str("keys are on their way to another server"),
            Self::Deposed(successor) => write!(f, "the sentinels name another primary, {successor}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl From<RedisError> for CallError {
    fn from(error: RedisError) -> Self {
        let to = || error.redirect_node().map(|(to, _)| to.to_owned());
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => Self::Moved(to().unwrap_or_default()),
            ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain) => Self::OnTheMove(to()),
            _ if is_out_of_reach(&error) => Self::OutOfReach(error),
            _ => Self::Failed(Box::new(error)),
        }
    }
}
