//! What is in the store: lists of entries, single ones, and what an invalidation would hit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cache_core::{
    Cache, Health, Key, Target,
    inspect::{Cursor, Item, Lost, Opaque, Page, Preview},
    store::StoreError,
};
use serde::{Deserialize, Serialize};

use crate::{
    aim::{Aim, Kind},
    api,
    state::Shared,
};

/// Entries of a page, unless asked for fewer or more.
const PAGE: usize = 50;

/// A page has no more, but for what one step of a store's walk finds at once.
const LARGEST_PAGE: usize = 500;

/// In how many steps a page is looked for, where all keys match.
const STEPS: usize = 5;

/// For how long a page is looked for.
const PATIENCE: Duration = Duration::from_secs(1);

/// A preview counts up to this.
const COUNTED: u64 = 100_000;

/// And for this long at most.
const COUNTING: Duration = Duration::from_secs(5);

/// Which entries are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Search {
    /// The beginning of a key, or a glob.
    #[serde(default, rename = "match")]
    pub(crate) pattern: String,
    /// Where the page before it ended.
    pub(crate) cursor: Option<String>,
    pub(crate) count: Option<usize>,
}

impl Search {
    /// What is no glob is the beginning of a key.
    fn glob(&self) -> String {
        let pattern = self.pattern.trim();
        if pattern.contains(['*', '?', '[', '\\']) { pattern.to_owned() } else { format!("{pattern}*") }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.unwrap_or(PAGE).clamp(1, LARGEST_PAGE)
    }
}

/// A page. A server's walk passes what does not match, too, and finds several at once: it is asked for few at a time, until there are enough or
/// a moment is over.
pub(crate) async fn find(cache: &Cache, search: &Search) -> Result<Page, StoreError> {
    let (glob, count, began) = (search.glob(), search.count(), Instant::now());
    let mut at = search.cursor.clone().filter(|cursor| !cursor.is_empty()).map(Cursor::new);
    let mut all = Page::default();
    // Memory finds exactly as many as it is asked for, and looks at all of its entries for each step.
    let step = if cache.health() == Health::Memory { count } else { count.div_ceil(STEPS) };
    loop {
        let page = cache.inspect().list(&glob, at.as_ref(), step).await?;
        all.items.extend(page.items);
        all.next = page.next;
        if all.items.len() >= count || all.next.is_none() || began.elapsed() > PATIENCE {
            // What a server has moved meanwhile may come twice.
            all.items.sort_by(|one, other| one.path.cmp(&other.path));
            all.items.dedup_by(|one, other| one.path == other.path);
            return Ok(all);
        }
        at.clone_from(&all.next);
    }
}

/// `api/key`: an entry.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct EntryReport {
    /// What lies there.
    #[serde(flatten)]
    pub item: Item,
    /// The parts of its key, decoded.
    pub parts: Vec<String>,
    /// Whether `value` is the value, and if not, why.
    pub value_state: ValueState,
    /// The value, where its codec describes itself.
    pub value: Option<serde_json::Value>,
}

/// Whether a value can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ValueState {
    /// It is.
    Shown,
    /// By configuration it is not.
    Hidden,
    /// Known to be absent: there is none.
    Absent,
    /// An object in memory, which has no bytes; a codec that does not describe itself; or too large.
    Opaque,
}

pub(crate) async fn entry(shared: &Shared, key: &Key) -> Result<Option<EntryReport>, StoreError> {
    let Some(contents) = shared.cache.inspect().look(key).await? else { return Ok(None) };
    let parts = cache_core::key::decode(key.as_str()).unwrap_or_default().iter().map(ToString::to_string).collect();
    let value = if shared.settings.hide_values { None } else { contents.json() };
    let value_state = match &value {
        _ if contents.item.is_negative => ValueState::Absent,
        Some(_) => ValueState::Shown,
        None if shared.settings.hide_values => ValueState::Hidden,
        None => ValueState::Opaque,
    };
    Ok(Some(EntryReport { item: contents.item, parts, value_state, value }))
}

/// `api/preview`: what an invalidation would hit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PreviewReport {
    /// How many entries were counted. Of a tag: none, since keys do not tell.
    pub count: u64,
    /// Whether there may be more than were counted: counting ends at 100,000, or after five seconds.
    pub is_at_least: bool,
    /// Some of them.
    pub some: Vec<String>,
    /// Of a tag: whether anything is stored under it, if that can be told.
    pub tag_in_use: Option<bool>,
}

/// Counts what a target would hit. A walk over a large store is work for it: few are under way at once.
pub(crate) async fn count(shared: &Shared, target: &Target) -> Result<PreviewReport, StoreError> {
    let _turn = shared.walks.acquire().await;
    let mut counted = 0;
    let inspector = shared.cache.inspect();
    let counting = inspector.preview_with(target, COUNTED, |count| counted = count);
    match tokio::time::timeout(COUNTING, counting).await {
        Ok(Ok(Preview { count, is_at_least, some, tag_in_use, .. })) => {
            Ok(PreviewReport { count, is_at_least, some, tag_in_use })
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(PreviewReport { count: counted, is_at_least: true, ..PreviewReport::default() }),
    }
}

/// What is said of a store's failure, and whether it is the asker's.
pub(crate) fn failure(error: &StoreError) -> (StatusCode, String) {
    match error {
        StoreError::Failed(cause) if cause.is::<Lost>() => (StatusCode::BAD_REQUEST, cause.to_string()),
        StoreError::Failed(cause) if cause.is::<Opaque>() => (StatusCode::NOT_IMPLEMENTED, cause.to_string()),
        StoreError::Failed(cause) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}: {cause}")),
        _ => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

fn refusal(error: &StoreError) -> Response {
    let (status, text) = failure(error);
    api::error(status, &text)
}

pub(crate) async fn list(State(shared): State<Arc<Shared>>, Query(search): Query<Search>) -> Response {
    match find(&shared.cache, &search).await {
        Ok(page) => Json(page).into_response(),
        Err(error) => refusal(&error),
    }
}

/// Which entry is wanted.
#[derive(Debug, Deserialize)]
pub(crate) struct Name {
    pub(crate) name: String,
}

pub(crate) async fn look(State(shared): State<Arc<Shared>>, Query(Name { name }): Query<Name>) -> Response {
    let key = match Key::of_encoded(&name) {
        Ok(key) => key,
        Err(problem) => return api::error(StatusCode::BAD_REQUEST, &problem.to_string()),
    };
    match entry(&shared, &key).await {
        Ok(Some(report)) => Json(report).into_response(),
        Ok(None) => api::error(StatusCode::NOT_FOUND, "there is no such entry"),
        Err(error) => refusal(&error),
    }
}

/// A target in an address.
#[derive(Debug, Deserialize)]
pub(crate) struct Question {
    kind: Kind,
    #[serde(default)]
    target: String,
}

pub(crate) async fn preview(State(shared): State<Arc<Shared>>, Query(question): Query<Question>) -> Response {
    let target = match (Aim { kind: question.kind, target: question.target }).target() {
        Ok(target) => target,
        Err(problem) => return api::error(StatusCode::BAD_REQUEST, &problem.to_string()),
    };
    match count(&shared, &target).await {
        Ok(preview) => Json(preview).into_response(),
        Err(error) => refusal(&error),
    }
}
