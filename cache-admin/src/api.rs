//! The same as JSON, for programs.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use cache_core::{Diagnosis, Health, Outcome, Stats, inspect::Server, map::Map};
use serde::{Deserialize, Serialize};

use crate::{
    aim::Aim,
    functions::{self, FunctionRow, Sort},
    history::{Interval, ratio},
    state::Shared,
};

/// `api/health`: whether the store can be reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// `connected`, `degraded` or `memory`.
    pub state: &'static str,
    /// For how long the store has been out of reach.
    pub degraded_seconds: Option<f64>,
    /// How many invalidations wait to be replayed.
    pub journal: usize,
}

/// `api/stats`: the counters since the cache was built.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StatsReport {
    /// The share of calls that were hits, 0 to 1. None without calls.
    pub hit_rate: Option<f64>,
    /// Calls answered by a stored value.
    pub hits: u64,
    /// Calls that found none.
    pub misses: u64,
    /// Loads run.
    pub loads: u64,
    /// Loads that failed.
    pub load_errors: u64,
    /// How long a load took on average.
    pub mean_load_seconds: Option<f64>,
    /// Calls of the store that failed or had no answer in time.
    pub store_errors: u64,
    /// Targets whose invalidation was in force when it returned.
    pub invalidations_applied: u64,
    /// Targets whose invalidation was queued.
    pub invalidations_journaled: u64,
    /// Copies in this process's memory, in front of a store that others share.
    pub l1_entries: usize,
    /// What these cost, in bytes.
    pub l1_bytes: u64,
    /// How many had to make room for others.
    pub l1_evictions: u64,
    /// Each function, by name.
    pub functions: Vec<FunctionRow>,
}

/// `api/overview`: what the first page shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Overview {
    /// Whether the store can be reached.
    pub health: HealthReport,
    /// The counters.
    pub stats: StatsReport,
    /// The servers that the entries are on; none for a cache in memory. Null while they are out of reach.
    pub servers: Option<Vec<Server>>,
    /// The last minutes, from the oldest to the newest.
    pub history: Vec<Interval>,
}

/// `api/map`: who drops what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MapReport {
    /// Functions and writers.
    #[serde(flatten)]
    pub map: Map,
    /// The prefixes of the functions that nobody drops.
    pub orphans: Vec<String>,
}

/// What became of an invalidation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Invalidated {
    /// `applied` or `journaled`.
    pub outcome: &'static str,
    /// As they were understood.
    pub targets: Vec<String>,
}

impl HealthReport {
    pub(crate) fn new(health: Health) -> Self {
        match health {
            Health::Connected => Self { state: "connected", degraded_seconds: None, journal: 0 },
            Health::Degraded { since, journal } => {
                Self { state: "degraded", degraded_seconds: Some(since.elapsed().as_secs_f64()), journal }
            }
            _ => Self { state: "memory", degraded_seconds: None, journal: 0 },
        }
    }
}

impl StatsReport {
    pub(crate) fn new(stats: &Stats, functions: Vec<FunctionRow>) -> Self {
        let total = stats.total;
        Self {
            hit_rate: ratio(total.hits as f64, total.hits + total.misses),
            hits: total.hits,
            misses: total.misses,
            loads: total.loads,
            load_errors: total.load_errors,
            mean_load_seconds: ratio(total.load_time.as_secs_f64(), total.loads),
            store_errors: total.store_errors,
            invalidations_applied: stats.invalidations_applied,
            invalidations_journaled: stats.invalidations_journaled,
            l1_entries: stats.l1_entries,
            l1_bytes: stats.l1_bytes,
            l1_evictions: stats.l1_evictions,
            functions,
        }
    }
}

pub(crate) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Journaled => "journaled",
    }
}

fn report(shared: &Shared) -> StatsReport {
    let stats = shared.cache.stats();
    let rows = functions::rows(&stats, &cache_core::map(), None);
    StatsReport::new(&stats, rows)
}

pub(crate) async fn overview(State(shared): State<Arc<Shared>>) -> Json<Overview> {
    let (stats, history) = (report(&shared), shared.intervals());
    let servers = shared.cache.inspect().servers().await.ok();
    Json(Overview { health: HealthReport::new(shared.cache.health()), stats, servers, history })
}

pub(crate) async fn stats(State(shared): State<Arc<Shared>>) -> Json<StatsReport> {
    Json(report(&shared))
}

pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Json<HealthReport> {
    Json(HealthReport::new(shared.cache.health()))
}

/// How the table is to be sorted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Sorting {
    #[serde(default)]
    pub(crate) sort: Sort,
    pub(crate) order: Option<Order>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    Asc,
    Desc,
}

impl Sorting {
    /// Names begin with a, numbers with the greatest.
    pub(crate) fn is_descending(&self) -> bool {
        self.order.map_or(self.sort != Sort::Name, |order| order == Order::Desc)
    }
}

pub(crate) async fn functions(State(shared): State<Arc<Shared>>, Query(sorting): Query<Sorting>) -> Response {
    let entries = shared.entries().await;
    let mut rows = functions::rows(&shared.cache.stats(), &cache_core::map(), entries.as_deref());
    functions::sort(&mut rows, sorting.sort, sorting.is_descending());
    Json(rows).into_response()
}

pub(crate) async fn history(State(shared): State<Arc<Shared>>) -> Json<Vec<Interval>> {
    Json(shared.intervals())
}

pub(crate) async fn map() -> Json<MapReport> {
    let map = cache_core::map();
    let orphans = map.orphans().into_iter().map(|orphan| orphan.prefix.clone()).collect();
    Json(MapReport { map, orphans })
}

pub(crate) async fn doctor(State(shared): State<Arc<Shared>>) -> Json<Diagnosis> {
    Json(shared.diagnosis().await)
}

/// A body for `api/invalidate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invalidation {
    targets: Vec<Aim>,
}

pub(crate) async fn invalidate(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    // No page of another site can send this type without the browser's asking first, and there is no answer to that.
    let is_json = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type has to be application/json");
    }
    let request: Invalidation = match serde_json::from_str(&body) {
        Ok(request) => request,
        Err(problem) => return error(StatusCode::BAD_REQUEST, &problem.to_string()),
    };
    let targets: Result<Vec<_>, _> = request.targets.iter().map(Aim::target).collect();
    match targets {
        Ok(targets) => {
            let names = targets.iter().map(ToString::to_string).collect();
            let outcome = shared.invalidate(targets).await;
            Json(Invalidated { outcome: outcome_name(outcome), targets: names }).into_response()
        }
        Err(problem) => error(StatusCode::BAD_REQUEST, &problem.to_string()),
    }
}

pub(crate) fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(serde_json::json!({ "error": text }))).into_response()
}

pub(crate) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "there is nothing at this address")
}

pub(crate) async fn wrong_method() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "this address is for requests of another method")
}
