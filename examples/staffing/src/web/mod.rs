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

use std::{convert::Infallible, error::Error, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::request::Parts,
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state, map_response, map_response_with_state},
    response::{Redirect, Response},
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

/// How long requests that have begun may take when the service is told to stop: less than the ten seconds after which `docker stop` kills.
const GRACE: Duration = Duration::from_secs(8);

/// What a secret of somebody's own has at least, in bytes: whoever guesses it is whoever they like.
const SHORTEST_SECRET: usize = 16;

#[derive(Args, Clone)]
pub(crate) struct Serve {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Signs the cookies, in 16 bytes at least; the same for all instances. By default one that is kept in the database.
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
    /// Attempts to log in from an address in ten minutes.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
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
    let secret = secret(&serve, &db).await?;
    let listener = listen(serve.listen).await?;
    let app = Inner::new(serve, db.clone(), &cache, secret.into_bytes());
    places::begin(&app, cache.clone());
    chores::begin(&app)?;
    print_line!("listens   http://{}", listener.local_addr()?);
    let admin = admin(cache.clone())?;
    let router = telemetry::router(cache.clone(), db, metrics).merge(router(&app, admin)).layer(map_response(harden));
    let ended = serve_until_stopped(&app, listener, router).await;
    // Nobody's writes are to wait for this instance.
    cache.leave().await;
    ended
}

/// What signs the cookies.
async fn secret(serve: &Serve, db: &Db) -> Result<String, Box<dyn Error>> {
    // A variable that is set to nothing is not set.
    match serve.secret.clone().filter(|secret| !secret.is_empty()) {
        Some(secret) if secret.len() < SHORTEST_SECRET => {
            Err(format!("the secret (--secret, STAFFING_SECRET) has less than {SHORTEST_SECRET} bytes").into())
        }
        Some(secret) => Ok(secret),
        None => Ok(schema::secret(db, "cookies", session::random_hex()?).await?),
    }
}

async fn listen(at: SocketAddr) -> Result<TcpListener, Box<dyn Error>> {
    Ok(TcpListener::bind(at).await.map_err(|error| format!("it cannot listen at {at} (--listen): {error}"))?)
}

/// Told to stop, it takes nothing more, ends the streams of events, and gives what has begun the time to end.
async fn serve_until_stopped(app: &App, listener: TcpListener, router: Router) -> Result<(), Box<dyn Error>> {
    let mut stopping = app.stopping.subscribe();
    let told = async move { drop(stopping.wait_for(|is_stopping| *is_stopping).await) };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let over = async {
        told_to_stop(None).await?;
        app.stopping.send_replace(true);
        tokio::time::sleep(GRACE).await;
        std::io::Result::Ok(())
    };
    tokio::select! {
        served = axum::serve(listener, service).with_graceful_shutdown(told) => served?,
        over = over => {
            over?;
            tracing::warn!("some requests were not answered in time, and are given up");
        }
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
        .route("/admin/cache/", get(|| async { Redirect::permanent("/admin/cache") }))
        .fallback(refusal::nothing_here)
        .method_not_allowed_fallback(refusal::not_so)
        .with_state(app.clone())
        .nest("/admin/cache", admin)
        .layer(limits::layer(app))
        .layer(limits::attempts(app))
        .layer(from_fn_with_state(app.clone(), session::recognise))
        .layer(from_fn_with_state(app.clone(), pages::show_refusals))
        .layer(map_response_with_state(app.clone(), events::end_with_the_service));
    let limited = if app.serve.no_cache { limited.layer(from_fn(without_cache)) } else { limited };
    Router::new().merge(pages::assets()).merge(limited)
}

/// Every call of a cached method loads: those inside of a transaction do.
async fn without_cache(request: Request, next: Next) -> Response {
    let Ok(response) = staleproof::transaction(async { Ok::<_, Infallible>(next.run(request).await) }).await;
    response
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
