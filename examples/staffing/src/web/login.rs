//! Logging in by a one-time code.

use axum::http::{HeaderValue, StatusCode};
use staffing::{Role, users::User};
use staleproof::kit::{StateError, Verdict};

use super::{
    Outlet,
    app::App,
    refusal::{Answer, Refusal},
    session,
};
use crate::report::print_line;

/// Role and id of a login such as `owner-7`.
fn parse(login: &str) -> Option<(Role, i64)> {
    let (role, id) = login.trim().split_once('-')?;
    let number: i64 = id.parse().ok()?;
    // One spelling: codes and limits are by role and id.
    (number.to_string() == id).then_some((role.parse().ok()?, number))
}

async fn user(app: &App, login: &str) -> Answer<Option<User>> {
    let Some((role, id)) = parse(login) else { return Ok(None) };
    Ok(app.staffing().users.get(role, id).await?)
}

/// Sends a code to a user, if there is one: the answer does not tell.
pub(crate) async fn send_code(app: &App, login: &str) -> Answer<()> {
    let Some(user) = user(app, login).await? else { return Ok(()) };
    let whom = format!("{}-{}", user.role, user.id);
    if !app.serve.no_limits && !app.code_limit.check(whom.as_str()).await.is_allowed {
        tracing::info!(whom, "no code: it was asked for too often");
        return Ok(());
    }
    let code = app.codes.issue(whom.as_str()).await?;
    match app.serve.codes {
        Outlet::Terminal => print_line!("code      {whom} {code}"),
        Outlet::Nowhere => {}
    }
    Ok(())
}

/// Logs a user in who has the code. Answers the cookie.
pub(crate) async fn log_in(app: &App, login: &str, code: &str) -> Answer<HeaderValue> {
    let wrong = |says: &str| Refusal::new(StatusCode::UNAUTHORIZED, says);
    let Some(user) = user(app, login).await? else { return Err(wrong("this code is not right")) };
    let whom = format!("{}-{}", user.role, user.id);
    match app.codes.verify(whom.as_str(), code).await {
        Ok(Verdict::Accepted) => session::begin(app, user.role, user.id).await,
        Ok(Verdict::Wrong { .. } | Verdict::Unknown) => Err(wrong("this code is not right")),
        Ok(Verdict::Exhausted) => Err(wrong("too many wrong codes: ask for a new one")),
        Err(StateError::Away(_)) => Err(wrong("this code cannot be looked up just now: ask for a new one")),
        Err(StateError::Contended) => Err(wrong("this code is being used by others")),
        Err(error) => Err(error.into()),
    }
}
