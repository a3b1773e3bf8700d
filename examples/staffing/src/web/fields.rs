//! What is sent along, read; what cannot be read is refused as everything else is.

use axum::{
    Form, Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;
use staffing::users::UserInfo;

use super::refusal::{Answer, Refusal};

/// A body of JSON.
pub(crate) struct Sent<T>(pub(crate) T);

/// A body that a browser's form makes.
pub(crate) struct Posted<T>(pub(crate) T);

/// What stands behind the question mark.
pub(crate) struct Asked<T>(pub(crate) T);

/// The numbers and names in a path.
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync + Send> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        match Json::from_request(request, state).await {
            Ok(Json(sent)) => Ok(Self(sent)),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "JSON is expected, and said to be it"))
            }
            Err(error) => Err(Refusal::new(error.status(), error.body_text())),
        }
    }
}

impl<T: DeserializeOwned, S: Sync + Send> FromRequest<S> for Posted<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let posted = Form::from_request(request, state).await;
        posted.map(|Form(posted)| Self(posted)).map_err(|error| Refusal::new(error.status(), error.body_text()))
    }
}

impl<T: DeserializeOwned, S: Sync + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let asked = Query::from_request_parts(parts, state).await;
        asked.map(|Query(asked)| Self(asked)).map_err(|error| Refusal::invalid(error.body_text()))
    }
}

impl<T: DeserializeOwned + Send, S: Sync + Send> FromRequestParts<S> for At<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let at = Path::from_request_parts(parts, state).await;
        at.map(|Path(at)| Self(at)).map_err(|_| Refusal::missing("thing"))
    }
}

/// A text of 1 to `most` characters, none of which controls a terminal or a database.
pub(crate) fn text(name: &str, value: &str, most: usize) -> Answer<String> {
    if value.trim().is_empty() {
        return Err(Refusal::invalid(format!("{name} is empty")));
    }
    optional_text(name, value, most)
}

/// The same, or an empty one.
pub(crate) fn optional_text(name: &str, value: &str, most: usize) -> Answer<String> {
    if value.chars().count() > most || value.chars().any(char::is_control) {
        return Err(Refusal::invalid(format!("{name} has more than {most} characters, or some that nobody can read")));
    }
    Ok(value.trim().to_owned())
}

/// How a user wants to be reached.
pub(crate) fn user_info(sent: &UserInfo) -> Answer<UserInfo> {
    let UserInfo { email, language } = sent;
    if email.len() > 200 || !email.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::invalid("email is no address"));
    }
    if language.len() > 8 || !language.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
        return Err(Refusal::invalid("language is written like en"));
    }
    Ok(sent.clone())
}

/// A number in this range.
pub(crate) fn number(name: &str, value: i64, range: std::ops::RangeInclusive<i64>) -> Answer<i64> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Refusal::invalid(format!("{name} is not between {} and {}", range.start(), range.end())))
}
