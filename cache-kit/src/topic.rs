//! Topics: typed messages to all instances, for those who listen at the time.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Values,
    codec::{EncodeError, Meta},
    store::StoreError,
};
use futures_core::Stream;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use crate::{
    Kit, Scope,
    backend::{At, Backend as _, Heard as Raw, Subscribed, Version},
};

/// How long a subscription waits before it tries again.
const PAUSE: Duration = Duration::from_millis(200);

/// Messages wait for a slow subscriber up to this many.
const BACKLOG: usize = 256;

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The message cannot be encoded.
    #[error("the message cannot be encoded")]
    Unencodable(#[source] EncodeError),
    /// Nobody was told.
    #[error("nobody could be told")]
    Away(#[source] StoreError),
}

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// A message.
    Message(T),
    /// Messages may have gone missing: the connection was lost, or the subscriber was too slow. What they were about is to be read anew.
    Gap,
}

/// Messages of one kind to all instances. Cheap to clone.
///
/// A message reaches those who listen when it is published, as a rule once (twice in this process, if Redis did not answer in time), and in the order
/// of publication from each instance. Nothing is kept for later. Whoever may have missed one is told so by a [gap](Heard::Gap).
pub struct Topic<T> {
    kit: Kit,
    name: String,
    at: At,
    types: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self { kit: self.kit.clone(), name: self.name.clone(), at: self.at.clone(), types: PhantomData }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.at.name).finish_non_exhaustive()
    }
}

impl<T> Topic<T> {
    pub(crate) fn new(kit: Kit, name: &str) -> Self {
        Self { kit, name: name.to_owned(), at: crate::at("topic", "", name), types: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Topic<T> {
    /// Publishes a message. While Redis is out of reach it reaches subscribers in this process only.
    pub async fn publish(&self, message: &T) -> Result<Scope, TopicError> {
        let publishing = async {
            let bytes = Values::new().encode(Some(message), Meta::default(), 0).map_err(TopicError::Unencodable)?;
            let scope = self.send(&bytes).await.map_err(TopicError::Away)?;
            Ok((scope, "sent", scope))
        };
        self.kit.meter().counted("topic", &self.name, "publish", publishing).await
    }

    async fn send(&self, bytes: &[u8]) -> Result<Scope, StoreError> {
        match self.kit.main().publish(&self.at, bytes).await {
            Ok(_) => Ok(Scope::Everywhere),
            Err(error) => {
                self.kit.instead(error)?.publish(&self.at, bytes).await?;
                Ok(Scope::ThisInstance)
            }
        }
    }

    /// Hears what is published from now on. While Redis is out of reach, what this process publishes; it begins with a [gap](Heard::Gap) then.
    pub async fn subscribe(&self) -> Subscription<T> {
        let (send, messages) = mpsc::channel(BACKLOG);
        let main = self.kit.main().subscribe(&self.at).await.ok();
        let here = match self.kit.instead(StoreError::Unavailable) {
            Ok(here) => here.subscribe(&self.at).await.ok(),
            Err(_) => None,
        };
        let (kit, name, at) = (self.kit.clone(), self.name.clone(), self.at.clone());
        let hearing = Hearing { kit, name, at, has_gap: main.is_none(), main, here, last: None };
        Subscription { messages, hearing: tokio::spawn(hearing.pass_on(send)) }
    }
}

/// What was published from the subscription on. Dropped, it ends.
#[derive(Debug)]
pub struct Subscription<T> {
    messages: mpsc::Receiver<Heard<T>>,
    hearing: tokio::task::JoinHandle<()>,
}

impl<T> Subscription<T> {
    /// The next message. `None`: the cache is gone.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard<T>> {
        self.messages.recv().await
    }
}

impl<T> Stream for Subscription<T> {
    type Item = Heard<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Heard<T>>> {
        self.messages.poll_recv(context)
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

/// A subscription over its connections.
struct Hearing {
    kit: Kit,
    name: String,
    at: At,
    main: Option<Box<dyn Subscribed>>,
    /// What this process publishes while the main one is out of reach.
    here: Option<Box<dyn Subscribed>>,
    last: Option<(Version, u64)>,
    has_gap: bool,
}

impl Hearing {
    async fn pass_on<T: DeserializeOwned + Serialize + Send + 'static>(mut self, to: mpsc::Sender<Heard<T>>) {
        loop {
            if !self.tell_gap(&to).await {
                return;
            }
            let Some(raw) = self.next().await else { continue };
            if !self.tell_gap(&to).await {
                return;
            }
            match Values::new().decode::<T>(&Bytes::from(raw.bytes), 0) {
                Ok((Some(message), _)) => {
                    if to.send(Heard::Message(message)).await.is_err() {
                        return;
                    }
                }
                // Of another release: what it was about is not known.
                Ok((None, _)) | Err(_) => self.has_gap = true,
            }
        }
    }

    /// Tells of a gap, if there is one. `false`: nobody listens any more.
    async fn tell_gap<T>(&mut self, to: &mpsc::Sender<Heard<T>>) -> bool {
        if !std::mem::take(&mut self.has_gap) {
            return true;
        }
        self.kit.meter().happened("topic", &self.name, "gap");
        to.send(Heard::Gap).await.is_ok()
    }

    /// The next message; `None` after a change of the connection.
    async fn next(&mut self) -> Option<Raw> {
        tokio::select! {
            heard = next_of(&mut self.main) => {
                if let Some(heard) = heard {
                    let is_next = self.last.is_none_or(|last| last == (heard.numbering, heard.number.wrapping_sub(1)));
                    self.has_gap |= !is_next;
                    self.last = Some((heard.numbering, heard.number));
                    Some(heard)
                } else {
                    (self.main, self.last, self.has_gap) = (None, None, true);
                    None
                }
            },
            heard = next_of(&mut self.here) => {
                if heard.is_none() {
                    // Too slow for it.
                    self.has_gap = true;
                    if let Ok(here) = self.kit.instead(StoreError::Unavailable) {
                        self.here = here.subscribe(&self.at).await.ok();
                    }
                }
                heard
            }
            main = subscribe_again(&self.kit, &self.at), if self.main.is_none() => {
                (self.main, self.has_gap) = (Some(main), true);
                None
            }
        }
    }
}

async fn next_of(subscribed: &mut Option<Box<dyn Subscribed>>) -> Option<Raw> {
    match subscribed {
        Some(subscribed) => subscribed.next().await,
        None => std::future::pending().await,
    }
}

async fn subscribe_again(kit: &Kit, at: &At) -> Box<dyn Subscribed> {
    loop {
        if kit.is_redis() && !kit.back().await {
            std::future::pending::<()>().await;
        }
        match kit.main().subscribe(at).await {
            Ok(main) => return main,
            Err(error) => {
                tracing::debug!(topic = at.name, %error, "a topic cannot be subscribed to, and is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
