//! The first page: the last minutes as charts, and how it all stands.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{Frame, render};
use crate::{
    chart::{self, Chart, Row},
    history::ratio,
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
    render(&Overview { frame: Frame::new(&shared, "overview"), charts, rows, facts: facts(&shared) })
}

fn facts(shared: &Shared) -> Vec<Fact> {
    let stats = shared.cache.stats();
    let total = stats.total;
    let calls = total.hits + total.misses;
    let mean = ratio(total.load_time.as_secs_f64(), total.loads);
    let mut facts = vec![
        Fact::new(
            "Hit rate",
            ratio(total.hits as f64, calls).map_or_else(|| "–".to_owned(), text::percent),
            format!("{} calls since the start", text::count(calls)),
        ),
        Fact::new("Hits", text::count(total.hits), format!("{} misses", text::count(total.misses))),
        Fact::new(
            "Loads",
            text::count(total.loads),
            match total.load_errors {
                0 => "none failed".to_owned(),
                failed => format!("{} failed", text::count(failed)),
            },
        ),
        Fact::new(
            "Load time",
            mean.map_or_else(|| "–".to_owned(), text::seconds),
            format!("on average; {} saved", text::seconds(mean.unwrap_or_default() * total.hits as f64)),
        ),
        Fact::new(
            "Invalidations",
            text::count(stats.invalidations_applied + stats.invalidations_journaled),
            format!("{} of them queued", text::count(stats.invalidations_journaled)),
        ),
        Fact::new(
            "Not stored",
            text::count(total.refused + total.unstored),
            format!("{} invalidated while loading", text::count(total.refused)),
        ),
    ];
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
