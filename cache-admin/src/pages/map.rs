//! The invalidation map.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{Frame, render};
use crate::{
    drawing::{self, Drawing},
    functions,
    state::Shared,
};

#[derive(Template)]
#[template(path = "map.html")]
struct Page {
    frame: Frame,
    drawing: Drawing,
    functions: Vec<Dropped>,
    orphans: usize,
    idle: Vec<Idle>,
}

/// A function, and who drops its entries.
struct Dropped {
    prefix: String,
    ttl: String,
    place: String,
    by: Vec<(String, &'static str, String)>,
}

/// A target that hits nothing.
struct Idle {
    how: &'static str,
    target: String,
    writer: String,
    place: String,
}

pub(crate) async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let map = cache_core::map();
    let rows = functions::rows(&shared.cache.stats(), &map, None);
    let dropped = map.functions.iter().map(|function| Dropped {
        prefix: function.prefix.clone(),
        ttl: function.ttl.trim_matches('"').to_owned(),
        place: format!("{}:{}", function.file, function.line),
        by: map
            .dropped_by(&function.prefix)
            .map(|(writer, drops)| (drawing::path(&writer.function), drops.how.as_str(), drops.target.clone()))
            .collect(),
    });
    let idle = map.idle().into_iter().map(|(writer, drops)| Idle {
        how: drops.how.as_str(),
        target: drops.target.clone(),
        writer: drawing::path(&writer.function),
        place: format!("{}:{}", writer.file, writer.line),
    });
    render(&Page {
        frame: Frame::new(&shared, "map"),
        drawing: drawing::draw(&map, &rows),
        functions: dropped.collect(),
        orphans: map.orphans().len(),
        idle: idle.collect(),
    })
}
