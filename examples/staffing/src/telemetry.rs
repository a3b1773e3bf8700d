//! What is served of a running instance: `/metrics` for Prometheus, `/healthz` for whoever restarts what has died.

use std::{
    error::Error,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use axum::{Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use staffing::Db;
use staleproof::{Cache, Health};

/// Where it is served, unless somebody says otherwise.
pub(crate) const ADDRESS: &str = "127.0.0.1:9464";

/// The buckets of all times, in seconds: those of docs/OPERATIONS.md.
const SECONDS: [f64; 13] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Longer than this nobody waits for a health check.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Told {
    cache: Cache,
    db: Db,
    metrics: PrometheusHandle,
}

/// Begins to collect metrics. Answers what renders them.
pub(crate) fn collect() -> Result<PrometheusHandle, Box<dyn Error>> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    Ok(PrometheusBuilder::new().set_buckets_for_metric(seconds, &SECONDS)?.install_recorder()?)
}

/// The two pages.
pub(crate) fn router(cache: Cache, db: Db, metrics: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(metrics_page)).route("/healthz", get(healthz)).with_state(Told {
        cache,
        db,
        metrics,
    })
}

async fn metrics_page(State(told): State<Told>) -> impl IntoResponse {
    told.cache.publish_metrics();
    told.metrics.run_upkeep();
    let name = "staffing_sql_statements_total";
    let statements = told.db.work().statements;
    let page = format!("{}# TYPE {name} counter\n{name} {statements}\n", told.metrics.render());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], page)
}

/// Well as long as it answers: without Redis the service goes on, and a restart would only empty its memory.
async fn healthz(State(told): State<Told>) -> &'static str {
    match told.cache.health() {
        Health::Degraded { .. } => "ok, without Redis\n",
        _ => "ok\n",
    }
}

/// Asks an instance whether it is well.
pub(crate) fn ask(at: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut connection = TcpStream::connect_timeout(&at, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(connection, "GET /healthz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(format!("{at} says {:?}", answer.lines().next().unwrap_or_default()).into())
}
