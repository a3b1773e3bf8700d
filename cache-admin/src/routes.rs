//! Where everything is, and what stands in front of all of it.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};

use crate::{
    access::Authorizer,
    admin::Writes,
    api, assets, events, forgery, keys,
    pages::{self, message},
    state::Shared,
};

/// A form or a request for some targets is smaller than this.
const BODY: usize = 64 << 10;

/// Said with every answer, unless a refusal of the host's says otherwise.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Not `no-referrer`: browsers would say of our own forms then that they come from nowhere.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

pub(crate) fn router(shared: Arc<Shared>, reads: Authorizer) -> Router {
    let guard = Guard { reads, shared: Arc::clone(&shared) };
    let names = &*assets::NAMES;
    let writing = || from_fn_with_state(Arc::clone(&shared), write);
    let api = Router::new()
        .route("/overview", get(api::overview))
        .route("/stats", get(api::stats))
        .route("/health", get(api::health))
        .route("/functions", get(api::functions))
        .route("/history", get(api::history))
        .route("/map", get(api::map))
        .route("/doctor", get(api::doctor))
        .route("/keys", get(keys::list))
        .route("/key", get(keys::look))
        .route("/preview", get(keys::preview))
        .route("/events", get(events::stream))
        .route("/invalidate", post(api::invalidate).layer(writing()))
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::wrong_method);
    Router::new()
        .route("/", get(root))
        .route("/overview", get(pages::overview::page))
        .route("/functions", get(pages::functions::page))
        .route("/map", get(pages::map::page))
        .route("/keys", get(pages::keys::page))
        .route("/key", get(pages::key::page))
        .route("/events", get(pages::events::page))
        .route("/doctor", get(pages::doctor::page))
        .route("/invalidate", get(pages::invalidate::page).merge(post(pages::invalidate::submit).layer(writing())))
        .route(&format!("/{}", names.style), get(assets::style))
        .route(&format!("/{}", names.script), get(assets::script))
        .nest("/api", api)
        // As a route, since a fallback is not passed on by a router between this and the outermost.
        .route("/{*rest}", any(fallback))
        .fallback(fallback)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(guard, admit))
        .layer(from_fn(with_headers))
}

#[derive(Clone)]
struct Guard {
    reads: Authorizer,
    shared: Arc<Shared>,
}

/// Nothing is answered, not even that it does not exist, before the host has said yes.
async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(refusal) = guard.reads.refuses(&parts).await {
        return refusal;
    }
    if forgery::is_embedded_elsewhere(&parts.headers) {
        return from_elsewhere();
    }
    guard.shared.keep_sampling();
    next.run(Request::from_parts(parts, body)).await
}

/// Writes need more than reads: a page of this origin or no browser at all, and the host's word.
async fn write(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if !forgery::is_from_here(&parts.headers) {
        return from_elsewhere();
    }
    let Writes::By(authorizer) = &shared.writes else {
        return (StatusCode::FORBIDDEN, "this admin page is read-only\n").into_response();
    };
    match authorizer.refuses(&parts).await {
        Some(refusal) => refusal,
        None => next.run(Request::from_parts(parts, body)).await,
    }
}

fn from_elsewhere() -> Response {
    (StatusCode::FORBIDDEN, "refused: the request comes from another site\n").into_response()
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// To the first page. All pages are in one folder, and all links relative to it, so that they lead where they should wherever the router is
/// mounted, also behind a proxy that takes a part of the path away.
async fn root(OriginalUri(uri): OriginalUri) -> Response {
    let folder = match uri.path().rsplit_once('/') {
        Some((_, "")) | None => String::new(),
        // The place where it is mounted, without a slash at its end.
        Some((_, last)) => format!("{last}/"),
    };
    match HeaderValue::from_str(&format!("./{folder}overview")) {
        Ok(location) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn fallback(state: State<Arc<Shared>>, original: OriginalUri, uri: Uri) -> Response {
    // What is nested somewhere is found there with a slash at its end, too.
    if uri.path() == "/" || uri.path().is_empty() {
        return root(original).await;
    }
    let text = "There is no such page here.";
    message(&state.0, StatusCode::NOT_FOUND, "Not found", text, uri.path().matches('/').count())
}

async fn wrong_method(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let text = "This address is for requests of another method.";
    message(&shared, StatusCode::METHOD_NOT_ALLOWED, "Not allowed", text, uri.path().matches('/').count())
}
