//! Topics for browsers: as server-sent events, and over WebSocket, for axum.
//!
//! A message is its JSON; where some may be missing there is an event `gap`, or the text `{"gap":true}`: the page then reads anew what it
//! shows. What may be told to whom is up to the handler, which subscribes.
//!
//! ```
//! use axum::{Router, extract::WebSocketUpgrade, routing::get};
//! use cache_core::Cache;
//! use cache_kit::{Kit, Topic, bridge};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let shifts: Topic<u64> = Kit::of(&Cache::memory()).topic("shifts");
//! let (for_events, for_sockets) = (shifts.clone(), shifts);
//! let router: Router = Router::new()
//!     .route("/events", get(async move || bridge::events(for_events.subscribe().await)))
//!     .route("/socket", get(async move |upgrade: WebSocketUpgrade| {
//!         let subscription = for_sockets.subscribe().await;
//!         upgrade.on_upgrade(|socket| bridge::websocket(socket, subscription))
//!     }));
//! # drop(router);
//! # }
//! ```

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::ws::{Message, WebSocket},
    response::sse::{Event, KeepAlive, Sse},
};
use futures_core::Stream;
use serde::Serialize;

use crate::{Heard, Subscription};

/// How often a browser is told that the stream is alive.
const ALIVE: Duration = Duration::from_secs(15);

/// A subscription as server-sent events: messages without a name, and `gap`. It ends with the connection.
pub fn events<T: Serialize + Send + 'static>(
    subscription: Subscription<T>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    Sse::new(Events(subscription)).keep_alive(KeepAlive::new().interval(ALIVE))
}

struct Events<T>(Subscription<T>);

impl<T: Serialize> Stream for Events<T> {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map(|heard| {
            Some(Ok(match heard? {
                Heard::Message(message) => match serde_json::to_string(&message) {
                    Ok(json) => Event::default().data(json),
                    // It cannot be told.
                    Err(_) => gap(),
                },
                Heard::Gap => gap(),
            }))
        })
    }
}

fn gap() -> Event {
    Event::default().event("gap").data("{}")
}

/// Sends a subscription over a WebSocket, until the other side closes it. What that says is not listened to.
pub async fn websocket<T: Serialize + Send + 'static>(mut socket: WebSocket, mut subscription: Subscription<T>) {
    // Who has gone without a word is found out so.
    let mut alive = tokio::time::interval_at(tokio::time::Instant::now() + ALIVE, ALIVE);
    loop {
        tokio::select! {
            _ = alive.tick() => {
                if socket.send(Message::Ping(Vec::new().into())).await.is_err() {
                    return;
                }
            }
            heard = subscription.next() => {
                let Some(heard) = heard else { return };
                let text = match heard {
                    Heard::Message(message) => serde_json::to_string(&message).ok(),
                    Heard::Gap => None,
                };
                let text = text.unwrap_or_else(|| r#"{"gap":true}"#.to_owned());
                if socket.send(Message::Text(text.into())).await.is_err() {
                    return;
                }
            }
            said = socket.recv() => {
                if !matches!(said, Some(Ok(message)) if !matches!(message, Message::Close(_))) {
                    return;
                }
            }
        }
    }
}
