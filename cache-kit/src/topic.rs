//! Topics: typed messages to all instances, for those who listen at the time.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Values,
    codec::{EncodeError, Meta},
    store::{Link, StoreError},
};
use futures_core::Stream;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{broadcast, mpsc, watch};

use crate::{
    Kit, Scope,
    backend::{At, Backend as _, Heard as Raw, Subscribed, Version},
};

/// How long a subscription waits before it tries again.
const PAUSE: Duration = Duration::from_millis(200);

/// Messages wait for a slow subscriber up to this many.
const BACKLOG: usize = 512;

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
/// of publication from each instance. Nothing is kept for later. Over Redis they need RESP3. Whoever may have missed one is told so by a [gap](Heard::Gap): at once
/// where a connection is closed, or calls go elsewhere; within seconds where a network has dropped it without a word.
pub struct Topic<T> {
    kit: Kit,
    name: String,
    at: At,
    /// Others are to be told that they missed something.
    owes_gap: Arc<AtomicBool>,
    types: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        let (kit, name, at) = (self.kit.clone(), self.name.clone(), self.at.clone());
        Self { kit, name, at, owes_gap: Arc::clone(&self.owes_gap), types: PhantomData }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.at.name).finish_non_exhaustive()
    }
}

impl<T> Topic<T> {
    pub(crate) fn new(kit: Kit, name: &str) -> Self {
        Self {
            kit,
            name: name.to_owned(),
            at: crate::at("topic", "", name),
            owes_gap: Arc::default(),
            types: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Topic<T> {
    /// Publishes a message. While Redis is out of reach it reaches subscribers in this process only; the others are told of a [gap](Heard::Gap)
    /// when it is back.
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
                self.owe_a_gap();
                Ok(Scope::ThisInstance)
            }
        }
    }

    /// Those whose own connection held did not hear it, and nothing else tells them.
    fn owe_a_gap(&self) {
        if !self.owes_gap.swap(true, Ordering::SeqCst) {
            tokio::spawn(tell_of_gap(self.kit.clone(), self.at.clone(), Arc::clone(&self.owes_gap)));
        }
    }

    /// Hears what is published from now on. While Redis is out of reach, what this process publishes; it begins with a [gap](Heard::Gap) then.
    ///
    /// All subscriptions of this process to a topic share one connection to Redis.
    pub async fn subscribe(&self) -> Subscription<T> {
        let hub = Hub::of(&self.kit, &self.at);
        // From here on nothing is missed but what the hub misses.
        let told = hub.told.subscribe();
        let is_up = *hub.is_up.clone().wait_for(Option::is_some).await.ok().as_deref().unwrap_or(&None);
        let (send, messages) = mpsc::channel(BACKLOG);
        let (kit, name) = (self.kit.clone(), self.name.clone());
        let hearing = tokio::spawn(pass_on(kit, name, told, is_up != Some(true), send));
        Subscription { messages, hearing, _hub: hub }
    }
}

/// What was published from the subscription on. Dropped, it ends.
#[derive(Debug)]
pub struct Subscription<T> {
    messages: mpsc::Receiver<Heard<T>>,
    hearing: tokio::task::JoinHandle<()>,
    _hub: Arc<Hub>,
}

impl<T> Subscription<T> {
    /// The next message. `None`: the runtime ends.
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

/// What a hub says.
#[derive(Clone, Debug)]
enum Told {
    Message(Arc<Raw>),
    Gap,
}

/// What all subscriptions of this process to a topic share.
#[derive(Debug)]
pub(crate) struct Hub {
    told: broadcast::Sender<Told>,
    /// Whether it hears the other instances; none before the first attempt.
    is_up: watch::Receiver<Option<bool>>,
    hearing: tokio::task::JoinHandle<()>,
}

impl Hub {
    /// The one of this topic, which lives as long as a subscription does.
    fn of(kit: &Kit, at: &At) -> Arc<Self> {
        let mut all = kit.hubs();
        if let Some(hub) = all.get(at).and_then(Weak::upgrade) {
            return hub;
        }
        all.retain(|_, hub| hub.strong_count() > 0);
        let told = broadcast::Sender::new(BACKLOG);
        let (up, is_up) = watch::channel(None);
        let hearing = tokio::spawn(Hearing::tell(kit.clone(), at.clone(), told.clone(), up));
        let hub = Arc::new(Self { told, is_up, hearing });
        all.insert(at.clone(), Arc::downgrade(&hub));
        hub
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

/// Passes on to one subscriber, at its pace.
async fn pass_on<T: DeserializeOwned + Serialize + Send + 'static>(
    kit: Kit,
    name: String,
    mut told: broadcast::Receiver<Told>,
    mut has_gap: bool,
    to: mpsc::Sender<Heard<T>>,
) {
    loop {
        if std::mem::take(&mut has_gap) {
            kit.meter().happened("topic", &name, "gap");
            if to.send(Heard::Gap).await.is_err() {
                return;
            }
        }
        let raw = match told.recv().await {
            Ok(Told::Message(raw)) => raw,
            // Also who was too slow.
            Ok(Told::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => {
                has_gap = true;
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        match Values::new().decode::<T>(&Bytes::copy_from_slice(&raw.bytes), 0) {
            Ok((Some(message), _)) => {
                if to.send(Heard::Message(message)).await.is_err() {
                    return;
                }
            }
            // Of another release: what it was about is not known.
            Ok((None, _)) | Err(_) => has_gap = true,
        }
    }
}

/// A topic over its connections.
struct Hearing {
    kit: Kit,
    at: At,
    main: Option<Box<dyn Subscribed>>,
    /// What this process publishes while the main one is out of reach.
    here: Option<Box<dyn Subscribed>>,
    last: Option<(Version, u64)>,
    has_gap: bool,
    link: Option<watch::Receiver<Link>>,
}

impl Hearing {
    async fn tell(kit: Kit, at: At, told: broadcast::Sender<Told>, up: watch::Sender<Option<bool>>) {
        let link = kit.link();
        let main = kit.main().subscribe(&at).await.ok();
        let here = match kit.instead(StoreError::Unavailable) {
            Ok(here) => here.subscribe(&at).await.ok(),
            Err(_) => None,
        };
        let mut hearing = Self { has_gap: false, kit, at, main, here, last: None, link };
        loop {
            up.send_replace(Some(hearing.main.is_some()));
            let raw = hearing.next().await;
            if std::mem::take(&mut hearing.has_gap) {
                drop(told.send(Told::Gap));
            }
            if let Some(raw) = raw {
                // Nobody may be there to hear it.
                drop(told.send(Told::Message(Arc::new(raw))));
            }
        }
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
            // Calls may go to another server from now on, and who listens to the old one hears no more.
            () = changed(&mut self.link), if self.main.is_some() => {
                (self.main, self.last, self.has_gap) = (None, None, true);
                None
            }
            (main, link) = subscribe_again(&self.kit, &self.at), if self.main.is_none() => {
                (self.main, self.link, self.has_gap) = (Some(main), link, true);
                None
            }
        }
    }
}

/// Says that something went missing, with a message that cannot be read.
async fn tell_of_gap(kit: Kit, at: At, owes_gap: Arc<AtomicBool>) {
    while kit.back().await {
        // What is published from here on in vain is another gap.
        owes_gap.store(false, Ordering::SeqCst);
        if kit.main().publish(&at, &[]).await.is_ok() {
            return;
        }
        if owes_gap.swap(true, Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn next_of(subscribed: &mut Option<Box<dyn Subscribed>>) -> Option<Raw> {
    match subscribed {
        Some(subscribed) => subscribed.next().await,
        None => std::future::pending().await,
    }
}

async fn changed(link: &mut Option<watch::Receiver<Link>>) {
    let is_changed = match link {
        Some(link) => link.changed().await.is_ok(),
        None => false,
    };
    if !is_changed {
        std::future::pending::<()>().await;
    }
}

/// A subscription, and the link as it was before.
async fn subscribe_again(kit: &Kit, at: &At) -> (Box<dyn Subscribed>, Option<watch::Receiver<Link>>) {
    let mut is_said = false;
    loop {
        if kit.is_redis() && !kit.back().await {
            std::future::pending::<()>().await;
        }
        let link = kit.link();
        match kit.main().subscribe(at).await {
            Ok(main) => return (main, link),
            Err(error) => {
                // It is refused, as where the protocol is RESP2, and that will not change by itself.
                if matches!(error, StoreError::Failed(_)) && !std::mem::replace(&mut is_said, true) {
                    tracing::warn!(topic = at.name, %error, "a topic cannot be subscribed to: nothing is heard until it can");
                }
                tracing::debug!(topic = at.name, %error, "a topic cannot be subscribed to, and is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
