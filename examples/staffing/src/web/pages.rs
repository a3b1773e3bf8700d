//! The pages: made on the server, forms that need no script.

mod desk;
mod forms;
mod frame;

use askama::Template;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};

use super::{
    app::App,
    refusal::{Answer, Refusal},
    session::Who,
};
use frame::Frame;

/// What a page shows of a refusal.
#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    frame: Frame,
    title: &'static str,
    says: String,
    /// Where it goes on.
    back: String,
}

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(front))
        .route("/login", get(forms::login).post(forms::log_in))
        .route("/login/code", get(|| async { Redirect::to("/login") }).post(forms::send_code))
        .route("/logout", post(forms::log_out))
        .route("/home", get(desk::home))
        .route("/me", post(forms::set_me))
        .route("/employees", get(desk::employees))
        .route("/contracts/new", get(desk::dialogue).post(forms::say))
        .route("/contracts/new/yes", post(forms::finish))
        .route("/calendar/{id}", get(desk::calendar).post(forms::open_slot))
        .route("/book", post(forms::book))
        .route("/cancel", post(forms::cancel))
        .route("/near", get(desk::near))
        .route("/payments", get(desk::payments).post(forms::pay))
        .route("/manage", get(desk::manage).post(forms::set))
}

/// Stylesheet, script and icon, which nobody needs to log in for.
pub(crate) fn assets() -> Router {
    let asset = |kind: &'static str, text: &'static str| {
        get(
            move || async move { ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=600")], text) },
        )
    };
    Router::new()
        .route("/assets/staffing.css", asset("text/css", include_str!("../../assets/staffing.css")))
        .route("/assets/staffing.js", asset("text/javascript", include_str!("../../assets/staffing.js")))
        .route("/favicon.ico", asset("image/svg+xml", include_str!("../../assets/favicon.svg")))
}

async fn front(who: Option<axum::Extension<Who>>) -> Redirect {
    Redirect::to(if who.is_some() { "/home" } else { "/login" })
}

/// A page that was made.
fn page(template: &impl Template) -> Answer<Response> {
    let failed = |error: askama::Error| {
        tracing::error!(%error, "a page could not be made");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed")
    };
    Ok(Html(template.render().map_err(failed)?).into_response())
}

/// Shows as a page why there is none; leads to the login who has not logged in.
pub(crate) async fn show_refusals(State(app): State<App>, request: Request, next: axum::middleware::Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") || path.starts_with("/events/") {
        return next.run(request).await;
    }
    let back = way_back(&request).unwrap_or_else(|| "/".to_owned());
    let response = next.run(request).await;
    let Some(refusal) = response.extensions().get::<Refusal>().cloned().or_else(|| limited(&response)) else {
        return response;
    };
    if refusal.status == StatusCode::UNAUTHORIZED {
        return Redirect::to("/login").into_response();
    }
    let frame = Frame::empty(&app).await;
    let title = refusal.status.canonical_reason().unwrap_or("This did not work");
    let (mut parts, _) = response.into_parts();
    match page(&(Message { frame, title, says: refusal.says, back })) {
        Ok(shown) => {
            let (made, body) = shown.into_parts();
            parts.headers.remove(header::CONTENT_LENGTH);
            let html = made.headers.get(header::CONTENT_TYPE).cloned();
            parts.headers.insert(header::CONTENT_TYPE, html.unwrap_or(HeaderValue::from_static("text/html")));
            Response::from_parts(parts, body)
        }
        Err(failed) => failed.into_response(),
    }
}

/// The page of this site whose form has sent this.
fn way_back(request: &Request) -> Option<String> {
    if request.method() == Method::GET {
        return None;
    }
    let header = |name| request.headers().get(name)?.to_str().ok();
    let (_, place) = header(header::REFERER)?.split_once("://")?;
    let (host, path) = place.split_once('/')?;
    // Two slashes would lead to another site, and browsers take those that lean the other way for slashes.
    (header(header::HOST) == Some(host) && !path.starts_with(['/', '\\'])).then(|| format!("/{path}"))
}

/// What the limiter refuses, which knows nothing of pages.
fn limited(response: &Response) -> Option<Refusal> {
    let after =
        response.headers().get(header::RETRY_AFTER).filter(|_| response.status() == StatusCode::TOO_MANY_REQUESTS)?;
    let says = format!("too many requests: try again in {} s", after.to_str().ok()?);
    Some(Refusal::new(StatusCode::TOO_MANY_REQUESTS, says))
}
