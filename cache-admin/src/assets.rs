//! The stylesheet and the script, compiled in. Their names change with their content, so that browsers may keep them.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use sha2::{Digest as _, Sha256};

use crate::secret::hex;

const STYLE: &str = include_str!("../assets/admin.css");
const SCRIPT: &str = include_str!("../assets/admin.js");

/// The names of both, below the place where the router is mounted.
pub(crate) static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    style: format!("admin-{}.css", fingerprint(STYLE)),
    script: format!("admin-{}.js", fingerprint(SCRIPT)),
});

pub(crate) struct Names {
    pub(crate) style: String,
    pub(crate) script: String,
}

fn fingerprint(content: &str) -> String {
    hex(&Sha256::digest(content)[..6])
}

pub(crate) async fn style() -> Response {
    serve("text/css; charset=utf-8", STYLE)
}

pub(crate) async fn script() -> Response {
    serve("text/javascript; charset=utf-8", SCRIPT)
}

fn serve(kind: &'static str, content: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "private, max-age=86400, immutable")];
    (headers, content).into_response()
}
