//! Why a request is not answered as it asks: a status and a sentence. As JSON, and as a page where a page was asked for.

use std::error::Error as _;

use axum::{
    Json,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use staffing::Error;
use staleproof::kit::{LockError, PlaceError, StateError};

/// Why a request is not answered as it asks.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) says: String,
}

#[derive(Serialize)]
struct Told<'a> {
    error: &'a str,
}

pub(crate) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    pub(crate) fn new(status: StatusCode, says: impl Into<String>) -> Self {
        Self { status, says: says.into() }
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "this is not for you")
    }

    pub(crate) fn unknown() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "log in first")
    }

    pub(crate) fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    pub(crate) fn invalid(says: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, says)
    }

    pub(crate) fn conflict(says: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, says)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Missing { .. } => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            Error::Refused(why) => Self::conflict(why),
            _ => {
                let cause = error.source().map(tracing::field::display);
                tracing::error!(%error, cause, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed")
            }
        }
    }
}

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        tracing::warn!(%error, "a state could not be read or written");
        Self::conflict("this cannot be looked up just now: try again in a moment")
    }
}

impl From<LockError> for Refusal {
    fn from(_: LockError) -> Self {
        Self::conflict("many want this at once: try again in a moment")
    }
}

impl From<PlaceError> for Refusal {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Away(error) => {
                tracing::warn!(%error, "no places could be found");
                Self::conflict("this cannot be looked up just now: try again in a moment")
            }
            error => Self::invalid(error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Told { error: &self.says })).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

pub(crate) async fn nothing_here(uri: Uri) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

pub(crate) async fn not_so() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be asked in this way")
}
