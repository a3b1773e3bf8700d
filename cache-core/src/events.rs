//! Events: what a cache does, as it does it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use crate::{key::Target, store::Outcome};

/// Events wait for a slow listener up to this many; the oldest are dropped then, and [`Event::Skipped`] says so.
const BACKLOG: usize = 1024;

/// Something a cache did. Keys are encoded and without namespace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A stored value was served.
    Hit {
        /// The entry.
        key: String,
    },
    /// No valid value was there.
    Miss {
        /// The entry.
        key: String,
    },
    /// A miss was answered by a load of this process that was under way.
    Joined {
        /// The entry.
        key: String,
    },
    /// A load ended.
    Loaded {
        /// The entry.
        key: String,
        /// How long it ran.
        took: Duration,
        /// Whether it returned a value.
        ok: bool,
    },
    /// A value was stored.
    Filled {
        /// The entry.
        key: String,
        /// How long it is kept.
        ttl: Duration,
    },
    /// A loaded value was not stored, because the entry had been invalidated meanwhile or the lease had lapsed.
    Refused {
        /// The entry.
        key: String,
    },
    /// A stored value could not be read and counts as a miss.
    Unreadable {
        /// The entry.
        key: String,
        /// Why.
        reason: String,
    },
    /// An expired value was served because the load failed.
    ServedStale {
        /// The entry.
        key: String,
    },
    /// A verified hit was not what the source says, and no invalidation was under way: something writes without
    /// invalidating.
    Mismatched {
        /// The entry.
        key: String,
    },
    /// An invalidation returned.
    Invalidated {
        /// What it hit.
        targets: Vec<Target>,
        /// What it achieved.
        outcome: Outcome,
    },
    /// The store went out of reach.
    Degraded,
    /// The store is back, and what was invalidated meanwhile has been replayed.
    Recovered {
        /// How long it was out of reach.
        after: Duration,
    },
    /// The listener was too slow for this many events.
    Skipped(u64),
}

/// The events of a cache from the moment of subscription on.
///
/// A listener never slows the cache down: see [`Event::Skipped`]. The stream ends with the cache.
#[derive(Debug)]
pub struct Events(BroadcastStream<Event>);

impl Events {
    /// The next event; `None` once the cache is gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        Pin::new(&mut self.0).poll_next(context).map(|next| {
            next.map(|event| event.unwrap_or_else(|BroadcastStreamRecvError::Lagged(missed)| Event::Skipped(missed)))
        })
    }
}

/// Where events are sent.
#[derive(Clone, Debug)]
pub(crate) struct Announcer(broadcast::Sender<Event>);

impl Announcer {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events(BroadcastStream::new(self.0.subscribe()))
    }

    /// Sends what `event` makes, which runs only if somebody listens.
    pub(crate) fn announce(&self, event: impl FnOnce() -> Event) {
        if self.0.receiver_count() > 0 {
            // Fails only if the last listener has just left.
            let _ = self.0.send(event());
        }
    }
}
