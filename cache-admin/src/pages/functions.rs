//! The table of functions.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use super::{Frame, render};
use crate::{
    api::Sorting,
    functions::{self, COLUMNS, FunctionRow},
    state::Shared,
    text,
};

/// A page has no more of them.
const MOST: usize = 500;

#[derive(Template)]
#[template(path = "functions.html")]
struct Functions {
    frame: Frame,
    columns: Vec<Column>,
    rows: Vec<Shown>,
    /// How many are not shown.
    more: usize,
}

/// A column's head: a link that sorts by it, or turns the order round.
struct Column {
    id: &'static str,
    name: &'static str,
    order: &'static str,
    /// For `aria-sort`.
    sorted: &'static str,
}

struct Shown {
    name: String,
    function: String,
    place: String,
    tags: String,
    orphan: bool,
    hits: String,
    misses: String,
    rate: String,
    /// In percent, for the bar.
    rate_width: f64,
    load: String,
    errors: u64,
    saved: String,
    entries: String,
    ttl: String,
}

pub(crate) async fn page(State(shared): State<Arc<Shared>>, Query(sorting): Query<Sorting>) -> Response {
    let entries = shared.entries().await;
    let mut rows = functions::rows(&shared.cache.stats(), &cache_core::map(), entries.as_deref());
    functions::sort(&mut rows, sorting.sort, sorting.is_descending());
    let more = rows.len().saturating_sub(MOST);
    render(&Functions {
        frame: Frame::new(&shared, "functions"),
        columns: columns(&sorting),
        rows: rows.into_iter().take(MOST).map(Shown::new).collect(),
        more,
    })
}

fn columns(sorting: &Sorting) -> Vec<Column> {
    let column = |(sort, id, name)| {
        let is_current = sort == sorting.sort;
        let descending = if is_current { !sorting.is_descending() } else { id != "name" };
        let sorted = match (is_current, sorting.is_descending()) {
            (false, _) => "none",
            (true, true) => "descending",
            (true, false) => "ascending",
        };
        Column { id, name, order: if descending { "desc" } else { "asc" }, sorted }
    };
    COLUMNS.into_iter().map(column).collect()
}

impl Shown {
    fn new(row: FunctionRow) -> Self {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        Self {
            function: row.function.unwrap_or_default(),
            place: row.place.unwrap_or_default(),
            tags: row.tags.join(", "),
            orphan: row.orphan,
            hits: text::count(row.hits),
            misses: text::count(row.misses),
            rate: or_none(row.hit_rate.map(text::percent)),
            rate_width: row.hit_rate.unwrap_or_default() * 100.0,
            load: or_none(row.mean_load_seconds.map(text::seconds)),
            errors: row.load_errors,
            saved: text::seconds(row.saved_seconds),
            entries: or_none(
                row.entries.map(|entries| {
                    format!("{}{}", if entries.or_more { "≥ " } else { "" }, text::count(entries.counted))
                }),
            ),
            ttl: or_none(row.ttl),
            name: row.name,
        }
    }
}
