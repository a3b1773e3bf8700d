//! Live events.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{Frame, render};
use crate::{events::KINDS, state::Shared};

#[derive(Template)]
#[template(path = "events.html")]
struct Page {
    frame: Frame,
    kinds: [&'static str; KINDS.len()],
}

pub(crate) async fn page(State(shared): State<Arc<Shared>>) -> Response {
    render(&Page { frame: Frame::new(&shared, "events"), kinds: KINDS })
}
