//! Why a command could not do what it was asked for.

use std::{error::Error, fmt, process::ExitCode};

use serde_json::json;
use staleproof::{BuildError, key::NotAKey, redis::ConnectError, store::StoreError};

use crate::{output, print_json, shown::printable};

/// Why nothing was invalidated.
pub(crate) const NOT_CONFIRMED: &str = "nothing was invalidated: confirm with --yes";

/// Why a command could not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense.
    Usage(String),
    /// Redis or the service does not answer, or refuses.
    OutOfReach(String),
    /// Nothing was invalidated. As JSON that is said with what would have been.
    NotConfirmed,
}

impl Failure {
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self::Usage(what.to_string())
    }

    pub(crate) fn connecting(error: &BuildError) -> Self {
        let text = chain(error);
        let is_usage = match error {
            BuildError::Store(error) => matches!(
                error.downcast_ref(),
                Some(
                    ConnectError::InvalidUrl(_)
                        | ConnectError::UnknownOption { .. }
                        | ConnectError::BadDatabase { .. }
                        | ConnectError::WrongKind { .. }
                        | ConnectError::UnknownService { .. }
                        | ConnectError::Unsupported(_)
                )
            ),
            _ => true,
        };
        if is_usage { Self::Usage(text) } else { Self::OutOfReach(text) }
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::OutOfReach(_) => 3,
            Self::NotConfirmed => 4,
        })
    }

    pub(crate) fn tell(&self, is_json: bool) {
        let what = match self {
            Self::Usage(what) | Self::OutOfReach(what) => what.as_str(),
            Self::NotConfirmed => NOT_CONFIRMED,
        };
        if is_json && !matches!(self, Self::NotConfirmed) {
            print_json(&json!({ "error": what }));
        }
        output::tell(format_args!("staleproof: {}", printable(what)));
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // Also a walk whose server is gone: nobody has asked for its place.
        Self::OutOfReach(chain(&error))
    }
}

impl From<NotAKey> for Failure {
    fn from(error: NotAKey) -> Self {
        Self::Usage(error.to_string())
    }
}

/// An error with what caused it, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use staleproof::inspect;

    use super::*;

    #[test]
    fn a_walk_that_has_lost_its_server_is_no_fault_of_the_command_line() {
        let lost = Failure::from(StoreError::Failed(Box::new(inspect::Lost("7@a:1".to_owned()))));
        assert!(matches!(&lost, Failure::OutOfReach(what) if what.contains("begin again")), "{lost:?}");
    }
}
