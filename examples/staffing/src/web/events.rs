//! `/events/shifts`: what changes at an object, as server-sent events.
//!
//! An event says that something has changed, not what: the page reads it anew. `gap` says that events may have gone missing.

use std::convert::Infallible;

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream::unfold};
use serde::{Deserialize, Serialize};
use staleproof::kit::Heard;

use super::{actions, app::App, fields::Asked, refusal::Answer, session::Who};

/// Something has changed at an object.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ShiftNews {
    pub(crate) object_id: i64,
}

#[derive(Deserialize)]
pub(crate) struct Of {
    object: i64,
}

pub(crate) async fn shifts(
    State(app): State<App>,
    who: Who,
    Asked(of): Asked<Of>,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    actions::object_for(&app, &who, of.object).await?;
    let heard = app.news.subscribe().await;
    let events = unfold(heard, move |mut heard| async move {
        loop {
            let event = match heard.next().await? {
                Heard::Message(news) if news.object_id == of.object => Event::default().event("changed").data("shifts"),
                Heard::Message(_) => continue,
                Heard::Gap => Event::default().event("gap").data("shifts"),
            };
            return Some((Ok(event), heard));
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
