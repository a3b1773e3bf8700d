//! Events: what a cache does, as it does it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
pub struct Events {
    stream: BroadcastStream<Event>,
    _listening: Listening,
}

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
        Pin::new(&mut self.stream).poll_next(context).map(|next| {
            next.map(|event| event.unwrap_or_else(|BroadcastStreamRecvError::Lagged(missed)| Event::Skipped(missed)))
        })
    }
}

/// Where events are sent.
#[derive(Clone, Debug)]
pub(crate) struct Announcer {
    sender: broadcast::Sender<Event>,
    /// How many listen: asked on each call, so it is kept where asking takes no lock.
    listeners: Arc<AtomicUsize>,
}

/// Counts as a listener until it is dropped.
#[derive(Debug)]
struct Listening(Arc<AtomicUsize>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Announcer {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), listeners: Arc::default() }
    }

    pub(crate) fn subscribe(&self) -> Events {
        let stream = BroadcastStream::new(self.sender.subscribe());
        self.listeners.fetch_add(1, Ordering::SeqCst);
        Events { stream, _listening: Listening(Arc::clone(&self.listeners)) }
    }

    #[inline]
    pub(crate) fn has_listeners(&self) -> bool {
        self.listeners.load(Ordering::SeqCst) > 0
    }

    /// Sends what `event` makes, which runs only if somebody listens.
    pub(crate) fn announce(&self, event: impl FnOnce() -> Event) {
        if self.has_listeners() {
            // Fails only if the last listener has just left.
            let _ = self.sender.send(event());
        }
    }
}
