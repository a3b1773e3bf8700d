//! What the cache does, as it does it: a stream of server-sent events.
//!
//! The cache announces hits only while somebody listens, which costs each of them something. So there are few streams at a time, and each
//! ends after some minutes; browsers come again by themselves, and are authorised again.

use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event as Message, KeepAlive, Sse},
    },
};
use cache_core::{Event, Events};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    api::{self, outcome_name},
    state::Shared,
};

/// A stream ends after this.
const LASTS: Duration = Duration::from_secs(300);

/// What is more within a second is counted, not sent.
const A_SECOND: u32 = 100;

/// One event of `api/events`, the data of a message. Keys are without namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EventReport {
    /// `hit`, `miss`, `joined`, `loaded`, `filled`, `refused`, `unreadable`, `stale`, `mismatched`, `invalidated`, `degraded`, `recovered`, or
    /// `skipped`: so many events were not sent.
    pub kind: &'static str,
    /// Milliseconds since 1970, when it was sent.
    pub at: u64,
    /// The entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How long the load ran, how long the value is kept, or how long the store was out of reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Whether the load returned a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// Why a value could not be read, or what an invalidation achieved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What was invalidated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// How many events are missing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// The kinds that a listener may leave out, as the page offers them.
pub(crate) const KINDS: [&str; 12] = [
    "hit",
    "miss",
    "joined",
    "loaded",
    "filled",
    "refused",
    "unreadable",
    "stale",
    "mismatched",
    "invalidated",
    "degraded",
    "recovered",
];

/// Of each invalidation so many targets are named.
const TARGETS: usize = 20;

impl EventReport {
    fn new(event: Event, hide_values: bool) -> Self {
        let of = |kind, key| Self { kind, key: Some(key), ..Self::default() };
        let seconds = |time: Duration| Some(time.as_secs_f64());
        let report = match event {
            Event::Hit { key } => of("hit", key),
            Event::Miss { key } => of("miss", key),
            Event::Joined { key } => of("joined", key),
            Event::Loaded { key, took, ok } => Self { seconds: seconds(took), ok: Some(ok), ..of("loaded", key) },
            Event::Filled { key, ttl } => Self { seconds: seconds(ttl), ..of("filled", key) },
            Event::Refused { key } => of("refused", key),
            // What a codec says may quote the value.
            Event::Unreadable { key, .. } if hide_values => of("unreadable", key),
            Event::Unreadable { key, reason } => Self { what: Some(reason), ..of("unreadable", key) },
            Event::ServedStale { key } => of("stale", key),
            Event::Mismatched { key } => of("mismatched", key),
            Event::Invalidated { targets, outcome } => Self {
                kind: "invalidated",
                targets: targets.iter().take(TARGETS).map(ToString::to_string).collect(),
                number: targets.len().checked_sub(TARGETS).filter(|more| *more > 0).map(|more| more as u64),
                what: Some(outcome_name(outcome).to_owned()),
                ..Self::default()
            },
            Event::Degraded => Self { kind: "degraded", ..Self::default() },
            Event::Recovered { after } => Self { kind: "recovered", seconds: seconds(after), ..Self::default() },
            Event::Skipped(number) => Self::skipped(number),
            _ => Self { kind: "other", ..Self::default() },
        };
        Self { at: now(), ..report }
    }

    fn skipped(number: u64) -> Self {
        Self { kind: "skipped", at: now(), number: Some(number), ..Self::default() }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Which events are wanted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    /// Kinds with commas between them; all if there is none.
    #[serde(default)]
    kinds: String,
}

impl Wanted {
    fn takes(&self, kind: &str) -> bool {
        kind == "skipped" || self.kinds.is_empty() || self.kinds.split(',').any(|wanted| wanted.trim() == kind)
    }
}

pub(crate) async fn stream(State(shared): State<Arc<Shared>>, Query(wanted): Query<Wanted>) -> Response {
    let Ok(seat) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return api::error(StatusCode::SERVICE_UNAVAILABLE, "too many listeners: close another page of events");
    };
    let listener = Listener {
        events: shared.cache.events(),
        wanted,
        hide_values: shared.settings.hide_values,
        ends: Instant::now() + LASTS,
        second: Second::default(),
        _seat: seat,
    };
    Sse::new(messages(listener)).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))).into_response()
}

fn messages(listener: Listener) -> impl Stream<Item = Result<Message, Infallible>> {
    let hello = stream::once(async { Ok(Message::default().comment("listening").retry(Duration::from_secs(1))) });
    let reports = stream::unfold(listener, async |mut listener| {
        let report = listener.next().await?;
        // Plain structs are always JSON.
        let data = serde_json::to_string(&report).ok()?;
        Some((Ok(Message::default().data(data)), listener))
    });
    futures_util::StreamExt::chain(hello, reports)
}

struct Listener {
    events: Events,
    wanted: Wanted,
    hide_values: bool,
    ends: Instant,
    second: Second,
    /// Given back when the listener leaves.
    _seat: OwnedSemaphorePermit,
}

/// What was sent within this second, and what was not.
struct Second {
    ends: Instant,
    sent: u32,
    kept_back: u64,
}

impl Default for Second {
    fn default() -> Self {
        Self { ends: Instant::now() + Duration::from_secs(1), sent: 0, kept_back: 0 }
    }
}

impl Listener {
    async fn next(&mut self) -> Option<EventReport> {
        loop {
            if self.second.ends <= Instant::now() {
                let kept_back = std::mem::take(&mut self.second).kept_back;
                if kept_back > 0 {
                    return Some(EventReport::skipped(kept_back));
                }
            }
            if self.ends <= Instant::now() {
                return None;
            }
            let next = pin!(self.events.next());
            let Ok(event) = tokio::time::timeout_at(self.second.ends.into(), next).await else { continue };
            let report = EventReport::new(event?, self.hide_values);
            if !self.wanted.takes(report.kind) {
                continue;
            }
            if self.second.sent < A_SECOND {
                self.second.sent += 1;
                return Some(report);
            }
            self.second.kept_back += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codecs_complaint_may_quote_the_value_and_is_hidden_with_it() {
        let event = Event::Unreadable { key: "k".into(), reason: "invalid type: string \"secret\"".into() };
        assert!(EventReport::new(event.clone(), false).what.is_some());
        assert_eq!(EventReport::new(event, true).what, None);
    }

    #[test]
    fn what_is_wanted_is_named() {
        let wanted = |kinds: &str| Wanted { kinds: kinds.to_owned() };
        assert!(wanted("").takes("hit") && wanted("miss, hit").takes("hit") && wanted("miss").takes("skipped"));
        assert!(!wanted("miss,filled").takes("hit"));
    }
}
