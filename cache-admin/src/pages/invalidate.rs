//! Invalidating by hand: say what, see what that would hit, confirm.

use std::sync::Arc;

use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use cache_core::{Outcome, Target};
use serde::Deserialize;

use super::{Frame, message, render};
use crate::{
    aim::{Aim, KINDS, Kind},
    forgery, keys,
    state::Shared,
    text,
};

#[derive(Template)]
#[template(path = "invalidate.html")]
struct Page {
    frame: Frame,
    kinds: [(Kind, &'static str, &'static str, &'static str); KINDS.len()],
    aim: Aim,
    functions: Vec<String>,
    problem: Option<String>,
    preview: Option<Preview>,
    done: Option<Done>,
    token: String,
}

/// What would be hit.
struct Preview {
    target: String,
    /// In words.
    hits: String,
    some: Vec<String>,
    more: bool,
}

impl Preview {
    async fn of(shared: &Shared, target: &Target) -> Self {
        let counted = keys::count(shared, target).await;
        let hits = match &counted {
            Err(error) => {
                format!(
                    "What it would hit is not known: {}. It can be invalidated all the same.",
                    keys::failure(error).1
                )
            }
            Ok(counted) => words(target, counted),
        };
        let (some, count) = counted.map(|counted| (counted.some, counted.count)).unwrap_or_default();
        Self { target: target.to_string(), hits, more: count > some.len() as u64, some }
    }
}

fn words(target: &Target, counted: &keys::PreviewReport) -> String {
    let number = text::count(counted.count);
    match (target, counted.tag_in_use) {
        (Target::Tag(_), Some(true)) => "Something is stored under it. Keys do not tell how many entries.".to_owned(),
        (Target::Tag(_), Some(false)) => "Nothing is stored under it now.".to_owned(),
        (Target::Tag(_), None) => "How many entries have it cannot be told from the keys.".to_owned(),
        _ if counted.is_at_least => format!("It would hit {number} entries or more."),
        _ if counted.count == 0 => "It would hit nothing that is stored now.".to_owned(),
        _ if counted.count == 1 => "It would hit 1 entry.".to_owned(),
        _ => format!("It would hit {number} entries."),
    }
}

struct Done {
    target: String,
    is_applied: bool,
}

/// What the form on the page asks about.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Question {
    kind: Option<Kind>,
    #[serde(default)]
    target: String,
}

/// What is confirmed.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    kind: Kind,
    #[serde(default)]
    target: String,
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    sure: String,
}

pub(crate) async fn page(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(question): Query<Question>,
) -> Response {
    if shared.is_read_only() {
        return message(&shared, StatusCode::FORBIDDEN, "Read-only", "Nobody may invalidate by this page.", 1);
    }
    let asked = question.kind.is_some();
    let aim = Aim { kind: question.kind.unwrap_or_default(), target: question.target };
    let mut page = Page::new(&shared, aim);
    if asked {
        match page.aim.target() {
            Ok(target) => page.preview = Some(Preview::of(&shared, &target).await),
            Err(problem) => page.problem = Some(problem.to_string()),
        }
    }
    page.answer(&shared, &headers)
}

pub(crate) async fn submit(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(order): Form<Order>,
) -> Response {
    if !forgery::is_genuine(&shared.secret, &headers, &order.csrf) {
        let text = "The form was not made by this page for this browser, or the service has been restarted since. Nothing was invalidated. \
                    Go back, reload, and try again.";
        return message(&shared, StatusCode::FORBIDDEN, "Refused", text, 1);
    }
    let mut page = Page::new(&shared, Aim { kind: order.kind, target: order.target });
    match page.aim.target() {
        Err(problem) => page.problem = Some(problem.to_string()),
        Ok(target) if page.aim.is_wide() && order.sure != "yes" => {
            page.problem = Some("that may hit a lot: tick the box if you mean it".to_owned());
            page.preview = Some(Preview::of(&shared, &target).await);
        }
        Ok(target) => {
            let text = target.to_string();
            let outcome = shared.invalidate(vec![target]).await;
            page.done = Some(Done { target: text, is_applied: outcome == Outcome::Applied });
        }
    }
    page.answer(&shared, &headers)
}

impl Page {
    fn new(shared: &Shared, aim: Aim) -> Self {
        let stats = shared.cache.stats();
        let mut functions: Vec<_> = stats.functions.into_keys().collect();
        functions.extend(cache_core::map().functions.into_iter().map(|function| function.prefix));
        functions.sort();
        functions.dedup();
        functions.truncate(500);
        Self {
            frame: Frame::new(shared, "invalidate"),
            kinds: KINDS,
            aim,
            functions,
            problem: None,
            preview: None,
            done: None,
            token: String::new(),
        }
    }

    /// With a token for its form.
    fn answer(mut self, shared: &Shared, headers: &HeaderMap) -> Response {
        let Some(ticket) = forgery::issue(&shared.secret, headers) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        self.token = ticket.token;
        let status = if self.problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let mut response = (status, render(&self)).into_response();
        if let Some(cookie) = ticket.cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}
