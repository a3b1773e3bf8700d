//! `/events/shifts`: what changes at an object, as server-sent events.
//!
//! An event says that something has changed, not what: the page reads it anew. `gap` says that events may have gone missing.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{
        Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt as _, stream::unfold};
use serde::{Deserialize, Serialize};
use staleproof::kit::Heard;

use super::{
    actions,
    app::App,
    fields::Asked,
    refusal::Answer,
    session::{self, Who},
};

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
    let events = unfold((heard, app, who), move |(mut heard, app, who)| async move {
        loop {
            let event = match heard.next().await? {
                Heard::Message(news) if news.object_id == of.object => Event::default().event("changed").data("shifts"),
                Heard::Message(_) => continue,
                Heard::Gap => Event::default().event("gap").data("shifts"),
            };
            // Who has logged out since, or may not see the object any more, hears nothing of it.
            if session::has_ended(&app, &who).await || actions::object_for(&app, &who, of.object).await.is_err() {
                return None;
            }
            return Some((Ok(event), (heard, app, who)));
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Streams of events have no end, and would keep a service from stopping that waits for all answers. Browsers connect again, to another instance.
pub(crate) async fn end_with_the_service(State(app): State<App>, response: Response) -> Response {
    if response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "text/event-stream") {
        return response;
    }
    let mut stopping = app.stopping.subscribe();
    let told = async move { drop(stopping.wait_for(|is_stopping| *is_stopping).await) };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(told))))
}
