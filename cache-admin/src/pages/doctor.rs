//! What is wrong, and what to do about it.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use cache_core::Diagnosis;

use super::{Frame, render};
use crate::state::Shared;

#[derive(Template)]
#[template(path = "doctor.html")]
struct Page {
    frame: Frame,
    diagnosis: Diagnosis,
}

pub(crate) async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let diagnosis = shared.diagnosis().await;
    render(&Page { frame: Frame::new(&shared, "doctor"), diagnosis })
}
