//! One entry.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cache_core::Key;

use super::{Frame, keys::Row, message, render};
use crate::{
    keys::{self, EntryReport, Name, ValueState},
    state::Shared,
    text,
};

/// So many letters of a value are shown.
const LONGEST: usize = 64 << 10;

#[derive(Template)]
#[template(path = "key.html")]
struct Page {
    frame: Frame,
    path: String,
    function: String,
    parts: Vec<String>,
    row: Row,
    value: Option<String>,
    /// Why it is not shown.
    instead: &'static str,
    is_cut: bool,
}

pub(crate) async fn page(State(shared): State<Arc<Shared>>, Query(Name { name }): Query<Name>) -> Response {
    let key = match Key::of_encoded(&name) {
        Ok(key) => key,
        Err(problem) => return message(&shared, StatusCode::BAD_REQUEST, "No key", &format!("That is {problem}."), 1),
    };
    match keys::entry(&shared, &key).await {
        Ok(Some(report)) => render(&Page::new(&shared, report)),
        Ok(None) => {
            let text = format!("Nothing is stored at {name}: it has expired, was invalidated, or never was there.");
            message(&shared, StatusCode::NOT_FOUND, "No such entry", &text, 1)
        }
        Err(error) => {
            let (status, text) = keys::failure(&error);
            message(&shared, status, "The store does not say", &text::sentence(&text), 1).into_response()
        }
    }
}

impl Page {
    fn new(shared: &Shared, report: EntryReport) -> Self {
        let pretty = report.value.as_ref().and_then(|value| serde_json::to_string_pretty(value).ok());
        let value = pretty.as_ref().map(|value| text::shortened(value, LONGEST));
        Self {
            frame: Frame::new(shared, "keys"),
            path: report.item.path.clone(),
            function: report.item.path.split(':').next().unwrap_or_default().to_owned(),
            parts: report.parts,
            instead: match report.value_state {
                ValueState::Hidden => "Values are hidden by configuration.",
                ValueState::Absent => "The source has no value for it; that is what is stored.",
                _ if report.item.codec.is_none() => "Not shown: an object of this process, or no value.",
                _ => "Not shown: its codec does not describe itself, or it is too large.",
            },
            is_cut: value != pretty,
            value,
            row: Row::new(report.item),
        }
    }
}
