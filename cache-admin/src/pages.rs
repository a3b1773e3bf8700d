//! The pages: what a template is given.

pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod functions;
pub(crate) mod invalidate;
pub(crate) mod key;
pub(crate) mod keys;
pub(crate) mod map;
pub(crate) mod overview;

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use cache_core::Health;

use crate::{assets, state::Shared, text};

/// What is around every page.
pub(crate) struct Frame {
    /// Which service this is.
    title: String,
    /// Which page this is.
    page: &'static str,
    /// The way to the folder of the pages.
    root: String,
    style: &'static str,
    script: &'static str,
    health: HealthWords,
    is_read_only: bool,
}

/// How the store does, in words.
pub(crate) struct HealthWords {
    class: &'static str,
    short: &'static str,
    long: String,
}

/// Where the pages are, and what they are called.
const PAGES: [(&str, &str, &str); 7] = [
    ("overview", "overview", "Overview"),
    ("functions", "functions", "Functions"),
    ("map", "map", "Map"),
    ("keys", "keys", "Keys"),
    ("invalidate", "invalidate", "Invalidate"),
    ("events", "events", "Events"),
    ("doctor", "doctor", "Doctor"),
];

impl Frame {
    pub(crate) fn new(shared: &Shared, page: &'static str) -> Self {
        let names = &*assets::NAMES;
        Self {
            title: shared.settings.title.clone(),
            page,
            root: String::new(),
            style: &names.style,
            script: &names.script,
            health: HealthWords::new(shared.cache.health()),
            is_read_only: shared.is_read_only(),
        }
    }

    fn pages(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let is_read_only = self.is_read_only;
        PAGES.into_iter().filter(move |(page, ..)| !is_read_only || *page != "invalidate")
    }
}

impl HealthWords {
    pub(crate) fn new(health: Health) -> Self {
        match health {
            Health::Connected => Self { class: "good", short: "connected", long: "The store answers.".to_owned() },
            Health::Degraded { since, journal } => Self {
                class: "bad",
                short: "degraded",
                long: format!(
                    "The store has been out of reach for {}. Memory carries the service; {} to be replayed.",
                    text::seconds(since.elapsed().as_secs().max(1) as f64),
                    match journal {
                        0 => "no invalidation waits".to_owned(),
                        1 => "1 invalidation waits".to_owned(),
                        more => format!("{} invalidations wait", text::count(more as u64)),
                    }
                ),
            },
            _ => Self {
                class: "good",
                short: "in memory",
                long: "Embedded: there is no store but this process's memory.".to_owned(),
            },
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    frame: Frame,
    heading: &'static str,
    text: String,
}

/// A page with nothing but a message, `depth` levels below the place where the router is mounted.
pub(crate) fn message(
    shared: &Shared,
    status: StatusCode,
    heading: &'static str,
    text: &str,
    depth: usize,
) -> Response {
    let mut frame = Frame::new(shared, "");
    frame.root = "../".repeat(depth.saturating_sub(1));
    (status, render(&Message { frame, heading, text: text.to_owned() })).into_response()
}

pub(crate) fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the cache's admin could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
