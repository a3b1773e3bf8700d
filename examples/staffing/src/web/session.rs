//! Who asks.
//!
//! A session is a state of the kit, found by the random name in a cookie; the cookie also carries a signed [`Statement`] of whose it is.
//!
//! | what the kit says | who asks |
//! |---|---|
//! | there is such a session | its user |
//! | it has ended | nobody: logging out writes an end, and removes nothing |
//! | there is none | its user: Redis has lost it, since none is removed before its statement is over. It is written again |
//! | Redis is out of reach | its user, by the signature |

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use staffing::Role;

use super::{
    app::App,
    refusal::Refusal,
    statement::{Statement, hex, now},
};

/// How long a session lasts after it was last used.
pub(crate) const LASTS: Duration = Duration::from_hours(8);

const COOKIE: &str = "session";

/// A session as all instances know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    role: Role,
    id: i64,
    has_ended: bool,
}

/// Who asks: somebody who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) role: Role,
    pub(crate) id: i64,
    session: String,
}

impl Who {
    /// As they log in: `owner-7`.
    pub(crate) fn login(&self) -> String {
        format!("{}-{}", self.role, self.id)
    }

    pub(crate) fn is(&self, role: Role, id: i64) -> bool {
        self.role == role && self.id == id
    }

    /// Lets managers and this user in.
    pub(crate) fn must_be(&self, role: Role, id: i64) -> Result<(), Refusal> {
        if self.is(role, id) { Ok(()) } else { self.must_manage() }
    }

    pub(crate) fn must_manage(&self) -> Result<(), Refusal> {
        if self.role == Role::Manager { Ok(()) } else { Err(Refusal::forbidden()) }
    }
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Refusal::unknown)
    }
}

/// 256 random bits.
pub(crate) fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Begins a session. Answers the cookie.
pub(crate) async fn begin(app: &App, role: Role, id: i64) -> Result<HeaderValue, Refusal> {
    let failed = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the system has no random numbers");
    let name = random_hex().map_err(failed)?;
    app.sessions.put(&name, &Session { role, id, has_ended: false }).await?;
    Ok(cookie(app, &Statement::new(name, role, id, LASTS)))
}

/// Ends a session, in all instances. Answers what removes the cookie.
pub(crate) async fn end(app: &App, who: &Who) -> Result<HeaderValue, Refusal> {
    app.sessions.put(&who.session, &Session { role: who.role, id: who.id, has_ended: true }).await?;
    Ok(HeaderValue::from_static("session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"))
}

fn cookie(app: &App, statement: &Statement) -> HeaderValue {
    let secure = if app.serve.secure_cookies { "; Secure" } else { "" };
    let (value, lasts) = (statement.signed(&app.secret), LASTS.as_secs());
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&cookie).expect("it is made of letters, digits and a little punctuation")
}

/// Notes who asks, and refuses what another site makes a browser ask.
pub(crate) async fn recognise(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if !is_safe(request.method()) && !is_of_this_site(request.headers()) {
        return Refusal::new(StatusCode::FORBIDDEN, "another site asks this").into_response();
    }
    let statement = presented(request.headers()).find_map(|cookie| Statement::read(cookie, &app.secret));
    let mut renewed = None;
    if let Some(statement) = statement
        && is_in_force(&app, &statement).await
    {
        let Statement { session, role, id, expires } = statement;
        if expires.saturating_sub(now()) < LASTS.as_secs() / 2 {
            renewed = Some(cookie(&app, &Statement::new(session.clone(), role, id, LASTS)));
        }
        request.extensions_mut().insert(Who { role, id, session });
    }
    let mut response = next.run(request).await;
    if let Some(cookie) = renewed {
        // What a handler says of the cookie, as that it is gone, stands.
        response.headers_mut().entry(header::SET_COOKIE).or_insert(cookie);
    }
    response
}

/// Whether somebody who was let in has logged out since.
pub(crate) async fn has_ended(app: &App, who: &Who) -> bool {
    matches!(app.sessions.get(&who.session).await, Ok(Some(session)) if session.has_ended)
}

async fn is_in_force(app: &App, said: &Statement) -> bool {
    let session = match app.sessions.get(&said.session).await {
        Ok(Some(session)) => session,
        Ok(None) => {
            let lost = Session { role: said.role, id: said.id, has_ended: false };
            match app.sessions.update(&said.session, |there| there.or_else(|| Some(lost.clone()))).await {
                Ok(Some(session)) => session,
                Ok(None) | Err(_) => return true,
            }
        }
        Err(error) => {
            tracing::debug!(%error, "a session cannot be looked up, and its statement is believed");
            return true;
        }
    };
    !session.has_ended && session.role == said.role && session.id == said.id
}

/// All of the name: another service of the same host may have set one as well.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().strip_prefix("session="))
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Browsers say with each request that may change something from where it comes; programs say nothing.
fn is_of_this_site(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    match text("origin") {
        None => !headers.contains_key("origin"),
        Some(origin) => origin.split_once("://").map(|(_, host)| host) == text("host"),
    }
}
