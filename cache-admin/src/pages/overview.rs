//! The first page: the last minutes as charts, and how it all stands.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use askama::Template;
use axum::{extract::State, response::Response};
use cache_core::{Stats, inspect::Server, map::Map};

use super::{Frame, HealthWords, render};
use crate::{
    chart::{self, Chart, Row},
    functions,
    history::ratio,
    keys,
    state::Shared,
    text,
};

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    charts: Vec<Chart>,
    rows: Vec<Row>,
    facts: Vec<Fact>,
    servers: Vec<ServerCard>,
    /// Why nothing is known of the servers.
    trouble: Option<String>,
    health: String,
}

/// A server, and what it says of itself.
struct ServerCard {
    at: String,
    version: String,
    facts: Vec<Fact>,
    /// Of the memory it may take, in percent.
    full: Option<f64>,
}

/// A number, and what it is.
struct Fact {
    name: &'static str,
    value: String,
    note: String,
}

impl Fact {
    fn new(name: &'static str, value: impl Into<String>, note: impl Into<String>) -> Self {
        Self { name, value: value.into(), note: note.into() }
    }
}

pub(crate) async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let intervals = shared.intervals();
    let (charts, rows) = (chart::charts(&intervals), chart::rows(&intervals));
    let began = Instant::now();
    let servers = shared.cache.inspect().servers().await;
    let took = began.elapsed();
    render(&Overview {
        frame: Frame::new(&shared, "overview"),
        charts,
        rows,
        facts: facts(&shared),
        trouble: servers.as_ref().err().map(|error| keys::failure(error).1),
        servers: servers.unwrap_or_default().into_iter().map(|server| ServerCard::new(server, took)).collect(),
        health: HealthWords::new(shared.cache.health()).long,
    })
}

impl ServerCard {
    fn new(server: Server, took: Duration) -> Self {
        let limit = server.memory_limit_bytes.filter(|limit| *limit > 0);
        let full = server.memory_bytes.zip(limit).map(|(used, limit)| (100.0 * used as f64 / limit as f64).min(100.0));
        let number =
            |name, value: Option<u64>, note: &str| value.map(|value| Fact::new(name, text::count(value), note));
        let memory = server.memory_bytes.map(|used| {
            let note = match limit {
                Some(limit) => format!("of {}", text::bytes(limit)),
                None => "no limit is set".to_owned(),
            };
            Fact::new("Memory", text::bytes(used), note)
        });
        let evicted = server.evicted_keys.map(|evicted| {
            let expired = server.expired_keys.map(|expired| format!("{} expired", text::count(expired)));
            Fact::new("Evictions", text::count(evicted), expired.unwrap_or_default())
        });
        let clients = server.clients.map(|clients| {
            let replicas = server.replicas.filter(|replicas| *replicas > 0);
            let note = replicas.map(|replicas| format!("and {replicas} replicas")).unwrap_or_default();
            Fact::new("Clients", text::count(clients), note)
        });
        let facts = [
            memory,
            server.eviction_policy.map(|policy| Fact::new("Policy at the limit", policy, "")),
            evicted,
            clients,
            number("Keys", server.keys, "those of others included"),
            number("Commands / s", server.commands_per_second, ""),
            server.uptime_seconds.map(|seconds| Fact::new("Running for", text::seconds(seconds as f64), "")),
            Some(Fact::new("Answered in", text::seconds(took.as_secs_f64()), "for what is shown here")),
        ];
        Self {
            at: server.at,
            version: server.version.unwrap_or_default(),
            facts: facts.into_iter().flatten().collect(),
            full,
        }
    }
}

fn facts(shared: &Shared) -> Vec<Fact> {
    let stats = shared.cache.stats();
    let mut facts = facts_of_calls(&stats);
    let total = stats.total;
    facts.push(Fact::new(
        "Invalidations",
        text::count(stats.invalidations_applied + stats.invalidations_journaled),
        format!("{} of them queued", text::count(stats.invalidations_journaled)),
    ));
    facts.push(Fact::new(
        "Not stored",
        text::count(total.refused + total.unstored),
        format!("{} invalidated while loading", text::count(total.refused)),
    ));
    if stats.l1_entries > 0 || stats.l1_evictions > 0 {
        let note =
            format!("{} copies, {} evicted", text::count(stats.l1_entries as u64), text::count(stats.l1_evictions));
        facts.push(Fact::new("Copies in memory", text::bytes(stats.l1_bytes), note));
    }
    if total.store_errors > 0 {
        facts.push(Fact::new("Store errors", text::count(total.store_errors), "calls that failed or timed out"));
    }
    facts
}

fn facts_of_calls(stats: &Stats) -> Vec<Fact> {
    let total = stats.total;
    let calls = total.hits + total.misses;
    let or_none = |value: Option<f64>, write: fn(f64) -> String| value.map_or_else(|| "–".to_owned(), write);
    // Of each function by itself: those that are called most are seldom those that take longest.
    let saved: f64 = functions::rows(stats, &Map::default(), None).iter().map(|row| row.saved_seconds).sum();
    let failed = match total.load_errors {
        0 => "none failed".to_owned(),
        failed => format!("{} failed", text::count(failed)),
    };
    vec![
        Fact::new(
            "Hit rate",
            or_none(ratio(total.hits as f64, calls), text::percent),
            format!("{} calls since the start", text::count(calls)),
        ),
        Fact::new("Hits", text::count(total.hits), format!("{} misses", text::count(total.misses))),
        Fact::new("Loads", text::count(total.loads), failed),
        Fact::new(
            "Load time",
            or_none(ratio(total.load_time.as_secs_f64(), total.loads), text::seconds),
            format!("on average; {} saved", text::seconds(saved)),
        ),
    ]
}
