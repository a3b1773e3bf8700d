//! Who may see the page, and who may change something by it: the host says so.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::secret::Secret;

/// What a host's authorisation answers: `true` or `Ok(())` lets the request in. `false` is answered by `403 Forbidden`, an error by
/// itself, so that it can ask for a password or lead to a login.
pub trait Verdict {
    /// As a response, where it is a refusal.
    fn refusal(self) -> Option<Response>;
}

impl Verdict for bool {
    fn refusal(self) -> Option<Response> {
        (!self).then(|| (StatusCode::FORBIDDEN, "forbidden\n").into_response())
    }
}

impl<E: IntoResponse> Verdict for Result<(), E> {
    fn refusal(self) -> Option<Response> {
        self.err().map(IntoResponse::into_response)
    }
}

type Asking = Pin<Box<dyn Future<Output = Option<Response>> + Send>>;

/// A host's authorisation.
#[derive(Clone)]
pub(crate) struct Authorizer(Arc<dyn Fn(&Parts) -> Asking + Send + Sync>);

impl Authorizer {
    pub(crate) fn new<V: Verdict>(authorize: impl Fn(&Parts) -> V + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |parts| {
            let refusal = authorize(parts).refusal();
            Box::pin(async { refusal })
        }))
    }

    pub(crate) fn asynchronous<V, F>(authorize: impl Fn(Parts) -> F + Send + Sync + 'static) -> Self
    where
        V: Verdict,
        F: Future<Output = V> + Send + 'static,
    {
        Self(Arc::new(move |parts| {
            let verdict = authorize(parts.clone());
            Box::pin(async { verdict.await.refusal() })
        }))
    }

    /// The refusal, if it is one.
    pub(crate) async fn refuses(&self, parts: &Parts) -> Option<Response> {
        let asking = (self.0)(parts);
        asking.await
    }
}

/// An authorisation by a token: `Authorization: Bearer <token>` for programs, or `Basic` with any user and the token as the password, which
/// browsers ask for. Compared in constant time. An empty token lets nobody in.
///
/// Use it over TLS, or on the loopback interface. A service with a login of its own asks that instead.
///
/// ```
/// use cache_admin::{Admin, token};
///
/// # let cache = cache_core::Cache::memory();
/// let router = Admin::new(cache).authorize_reads(token("look")).authorize_writes(token("look and touch")).build();
/// # assert!(router.is_ok());
/// ```
pub fn token(token: impl Into<String>) -> impl Fn(&Parts) -> Result<(), Unauthorized> + Clone + Send + Sync + 'static {
    let token = token.into();
    move |parts| {
        let given = parts.headers.get(header::AUTHORIZATION).and_then(password);
        match given {
            Some(given) if !token.is_empty() && Secret::same(given.as_bytes(), token.as_bytes()) => Ok(()),
            _ => Err(Unauthorized),
        }
    }
}

fn password(header: &HeaderValue) -> Option<String> {
    let (scheme, rest) = header.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

/// Asks for the password: `401 Unauthorized`.
#[derive(Clone, Copy, Debug)]
pub struct Unauthorized;

impl IntoResponse for Unauthorized {
    fn into_response(self) -> Response {
        let challenge = (header::WWW_AUTHENTICATE, r#"Basic realm="staleproof", charset="UTF-8""#);
        (StatusCode::UNAUTHORIZED, [challenge], "unauthorized\n").into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(authorization: Option<&str>) -> Parts {
        let mut request = axum::http::Request::builder();
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn a_token_is_a_bearer_or_a_password_and_nothing_else() {
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        let (right, user) = (basic("anybody:s3:cret"), basic("s3:cret:"));
        for (header, lets_in) in [
            (Some("Bearer s3:cret"), true),
            (Some("bearer s3:cret"), true),
            (Some(right.as_str()), true),
            (Some(user.as_str()), false),
            (Some("Bearer s3:cre"), false),
            (Some("Bearer s3:cret2"), false),
            (Some("Bearer "), false),
            (Some("Basic !!"), false),
            (Some("s3:cret"), false),
            (None, false),
        ] {
            assert_eq!(token("s3:cret")(&parts(header)).is_ok(), lets_in, "{header:?}");
        }
        assert!(token("")(&parts(Some("Bearer "))).is_err(), "an empty token lets nobody in");
    }
}
