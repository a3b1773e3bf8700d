//! The entries of the store, page by page.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use cache_core::inspect::{Item, Kind, Validity};

use super::{Frame, render};
use crate::{
    keys::{self, Search},
    state::Shared,
    text,
};

#[derive(Template)]
#[template(path = "keys.html")]
struct Page {
    frame: Frame,
    pattern: String,
    count: usize,
    is_first: bool,
    rows: Vec<Row>,
    next: Option<String>,
    problem: Option<String>,
}

pub(super) struct Row {
    pub(super) path: String,
    pub(super) kind: &'static str,
    pub(super) class: &'static str,
    pub(super) ttl: String,
    pub(super) bytes: String,
    pub(super) codec: String,
    pub(super) load: String,
}

pub(crate) async fn page(State(shared): State<Arc<Shared>>, Query(search): Query<Search>) -> Response {
    let found = keys::find(&shared.cache, &search).await;
    let failed = found.as_ref().err().map(keys::failure);
    let found = found.unwrap_or_default();
    let page = Page {
        frame: Frame::new(&shared, "keys"),
        count: search.count(),
        is_first: search.cursor.is_none(),
        pattern: search.pattern,
        rows: found.items.into_iter().map(Row::new).collect(),
        next: found.next.map(|cursor| cursor.to_string()),
        problem: failed.as_ref().map(|(_, problem)| text::sentence(problem)),
    };
    match failed {
        Some((status, _)) => (status, render(&page)).into_response(),
        None => render(&page),
    }
}

impl Row {
    pub(super) fn new(item: Item) -> Self {
        let (kind, class) = match (item.kind, item.validity) {
            (Kind::Value, _) if item.is_negative => ("known to be absent", ""),
            (Kind::Value, Some(Validity::Invalidated)) => ("invalidated", "warn"),
            (Kind::Value, _) => ("value", ""),
            (Kind::Loading, _) => ("loading", "note"),
            (Kind::Held, _) => ("held by a writer", "warn"),
            _ => ("foreign", "warn"),
        };
        let codec = item.codec.into_iter().chain(item.compression).collect::<Vec<_>>().join(" + ");
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        Self {
            kind,
            class,
            ttl: item.ttl.map_or_else(|| "none".to_owned(), |ttl| text::seconds(rounded(ttl.as_secs_f64()))),
            bytes: text::bytes(item.bytes),
            codec: if codec.is_empty() { "–".to_owned() } else { codec },
            load: or_none(item.load_time.map(|time| text::seconds(time.as_secs_f64()))),
            path: item.path,
        }
    }
}

/// Whole seconds, where there are some.
fn rounded(seconds: f64) -> f64 {
    if seconds > 10.0 { seconds.round() } else { seconds }
}
