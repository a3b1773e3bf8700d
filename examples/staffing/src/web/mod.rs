//! `staffing serve`: pages and a JSON API over the services.
//!
//! Requests pass a session (who asks), a limit (how often they may), and come to a page or the API, which do the same by the same steps: `actions`
//! says who may do what. Whatever instances have to agree on is a block of the kit; the database alone decides who gets a seat.

mod actions;
mod api;
mod app;
mod chores;
mod dialogue;
mod events;
mod fields;
mod limits;
mod login;
mod pages;
mod payments;
mod places;
mod refusal;
mod session;
mod statement;

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{
    Router,
    http::request::Parts,
    http::{HeaderName, HeaderValue, header},
    middleware::{from_fn_with_state, map_response},
    response::Response,
    routing::get,
};
use cache_admin::{Admin, BuildError};
use clap::{Args, ValueEnum};
use staffing::{Db, schema};
use staleproof::{Cache, CacheBuilder, L1};
use tokio::net::TcpListener;

use self::{
    app::{App, Inner},
    refusal::Refusal,
    session::Who,
};
use crate::{load::told_to_stop, report::print_line, telemetry};

/// How long Redis is waited for. Longer than for a cache alone: while it counts as away, each instance has limits of its own, and on a busy machine
/// an answer may be late.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Args, Clone)]
pub(crate) struct Serve {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Signs the cookies; the same for all instances. By default one that is kept in the database.
    #[arg(long, env = "STAFFING_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Where codes for logins go.
    #[arg(long, value_enum, default_value_t = Outlet::Terminal)]
    codes: Outlet,
    /// Cookies are sent over TLS only: for a service behind a proxy that speaks it.
    #[arg(long)]
    secure_cookies: bool,
    /// Requests a minute from an address that has not logged in.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    strangers: u32,
    /// No limits on how often anything is asked: for measurements.
    #[arg(long)]
    no_limits: bool,
    /// Every call loads: for measurements.
    #[arg(long)]
    no_cache: bool,
}

/// Where codes for logins go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Outlet {
    /// To standard output: for development.
    Terminal,
    /// Nowhere: nobody can log in. A service of yours sends mail here.
    Nowhere,
}

/// Serves until it is told to stop.
pub(crate) async fn run(serve: Serve, db: Db, cache: CacheBuilder) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    let metrics = telemetry::collect()?;
    let cache = cache.l1(L1::Leased).call_timeout(PATIENCE).connect().await?;
    let secret = match serve.secret.clone() {
        Some(secret) => secret,
        None => schema::secret(&db, "cookies", session::random_hex()?).await?,
    };
    let listener = TcpListener::bind(serve.listen).await?;
    let app = Inner::new(serve, db.clone(), &cache, secret.into_bytes());
    places::begin(&app);
    chores::begin(&app)?;
    print_line!("listens   http://{}", listener.local_addr()?);
    let admin = admin(cache.clone())?;
    let router = telemetry::router(cache, db, metrics).merge(router(&app, admin));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        served = axum::serve(listener, service) => served?,
        stopped = told_to_stop(None) => stopped?,
    }
    Ok(())
}

/// The cache's own page, for managers.
fn admin(cache: Cache) -> Result<Router, BuildError> {
    let manages = |parts: &Parts| match parts.extensions.get::<Who>() {
        Some(who) => who.must_manage(),
        None => Err(Refusal::unknown()),
    };
    Admin::new(cache).title("staffing").authorize_reads(manages).authorize_writes(manages).build()
}

fn router(app: &App, admin: Router) -> Router {
    let limited = Router::new()
        .merge(pages::router())
        .nest("/api", api::router())
        .route("/events/shifts", get(events::shifts))
        .fallback(refusal::nothing_here)
        .method_not_allowed_fallback(refusal::not_so)
        .with_state(app.clone())
        .nest("/admin/cache", admin)
        .layer(limits::layer(app))
        .layer(from_fn_with_state(app.clone(), session::recognise))
        .layer(from_fn_with_state(app.clone(), pages::show_refusals));
    Router::new().merge(pages::assets()).merge(limited).layer(map_response(harden))
}

/// What every answer says to a browser.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
