//! Typed values by typed key, with an end: sessions, states of conversations, drafts, results of tasks.

mod away;
mod builder;
mod core;

use std::{fmt, marker::PhantomData, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{
    Key, KeyPart, Values,
    codec::{DecodeError, EncodeError, Meta},
    key::{self, Decoded},
    store::StoreError,
};
use serde::{Serialize, de::DeserializeOwned};

pub use self::builder::StateBuilder;
pub(crate) use self::core::{Core, Source};
use crate::{
    Scope,
    backend::{At, Expected, Named, Spot},
};

/// How often an update is tried against others.
const ATTEMPTS: u32 = 64;

/// Why a state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Redis is out of reach, and this instance does not know the value.
    #[error("the state is out of reach")]
    Away(#[source] StoreError),
    /// What is stored is damaged, or of another shape, and [`StateBuilder::unreadable_is_an_error`] was asked for.
    #[error("what is stored cannot be read")]
    Unreadable(#[source] DecodeError),
    /// The value cannot be stored.
    #[error("the value cannot be stored")]
    Unencodable(#[source] EncodeError),
    /// Others changed it each time.
    #[error("others changed the state {ATTEMPTS} times meanwhile")]
    Contended,
    /// Too much waits to be written back.
    #[error("too much waits for Redis to come back")]
    Full,
}

/// What a state is found by: one argument, or [`Owned`].
pub trait StateKey {
    #[doc(hidden)]
    fn spot(&self, name: &str) -> StateSpot;
}

/// Where a state is. Not for use.
#[doc(hidden)]
#[derive(Debug)]
pub struct StateSpot(Spot);

impl<K: KeyPart> StateKey for K {
    fn spot(&self, name: &str) -> StateSpot {
        StateSpot(Spot { at: crate::at("state", name, self), list: None })
    }
}

/// Something that belongs to somebody: what one owner has can be [listed](States::list).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owned<O, I> {
    /// Who owns it.
    pub owner: O,
    /// Which of the owner's it is.
    pub id: I,
}

impl<O: KeyPart, I: KeyPart> StateKey for Owned<O, I> {
    fn spot(&self, name: &str) -> StateSpot {
        let list = list_of(name, &self.owner);
        let named = Key::new("state").arg(name).arg(&self.owner).arg(&self.id).as_str().to_owned();
        let member = named.rsplit(key::SEPARATOR).next().unwrap_or_default().to_owned();
        let at = At { place: list.place, name: named };
        StateSpot(Spot { at, list: Some((list.name, member)) })
    }
}

fn list_of<O: KeyPart + ?Sized>(name: &str, owner: &O) -> At {
    let place = Key::new("state").arg(name).arg(owner).as_str().to_owned();
    At { name: format!("{place}:#"), place }
}

/// Typed values by typed key, with an end. Cheap to clone.
///
/// What was read or written is remembered by this instance, in memory. While Redis is out of reach that is what is read, and writings go there
/// too; when it is back they are written back, unless somebody else wrote meanwhile (then theirs stays, and the log says so).
///
/// # Cancellation
///
/// A writing whose future is dropped may or may not take effect.
pub struct States<K, T> {
    core: Arc<Core>,
    types: PhantomData<fn(&K) -> T>,
}

impl<K, T> Clone for States<K, T> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), types: PhantomData }
    }
}

impl<K, T> fmt::Debug for States<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").field("name", &self.core.settings.name).finish_non_exhaustive()
    }
}

impl<K: StateKey, T: Serialize + DeserializeOwned + 'static> States<K, T> {
    /// The state, if there is one.
    pub async fn get(&self, key: &K) -> Result<Option<T>, StateError> {
        let touch = self.core.settings.is_sliding.then_some(self.core.settings.ttl);
        let reading = async {
            let (record, source) = self.core.read(&self.spot(key), touch).await?;
            let value = record.map_or(Ok(None), |record| self.decode(&record.bytes))?;
            let outcome = found(value.is_some());
            Ok((value, outcome, source.scope()))
        };
        self.core.counted("get", reading).await
    }

    /// Keeps it for as long as if it had been written now. Whether there is one.
    pub async fn touch(&self, key: &K) -> Result<bool, StateError> {
        let touching = async {
            let (record, source) = self.core.read(&self.spot(key), Some(self.core.settings.ttl)).await?;
            Ok((record.is_some(), found(record.is_some()), source.scope()))
        };
        self.core.counted("touch", touching).await
    }

    /// Writes a state, whatever was there.
    pub async fn put(&self, key: &K, value: &T) -> Result<Scope, StateError> {
        let writing = async {
            let bytes = self.encode(value)?;
            let scope = self.core.write(&self.spot(key), bytes).await?;
            Ok((scope, "ok", scope))
        };
        self.core.counted("put", writing).await
    }

    /// Removes a state and returns it. Of any number of calls at once, in any instances, one gets it; while Redis is out of reach, one in each
    /// instance that knows it.
    ///
    /// Redis remembers that it was removed, and what it was, for five minutes longer than it would still have been kept, of which a day at most counts: so it
    /// does not come back from the memory of another instance.
    pub async fn take(&self, key: &K) -> Result<Option<T>, StateError> {
        let taking = async {
            let spot = self.spot(key);
            let value = self.taken(&spot).await?;
            let outcome = found(value.is_some());
            Ok((value, outcome, self.core.scope(&spot)))
        };
        self.core.counted("take", taking).await
    }

    async fn taken(&self, spot: &Spot) -> Result<Option<T>, StateError> {
        let Some(taken) = self.core.remove(spot, &Expected::Anything).await? else { return Ok(None) };
        let value = self.decode(&taken.bytes);
        if value.is_err() {
            // It stays for somebody who can read it.
            self.core.replace(spot, &Expected::Nothing, taken.bytes, self.core.ttl()).await?;
        }
        value
    }

    /// Changes a state: what `change` makes of it is written, unless somebody else has changed it meanwhile; then again from the
    /// beginning. `None` removes it. Returns what is there now; while Redis is out of reach, what is there for this instance.
    pub async fn update(
        &self,
        key: &K,
        change: impl FnMut(Option<T>) -> Option<T> + Send,
    ) -> Result<Option<T>, StateError> {
        let updating = async {
            let new = self.updated(key, change).await?;
            Ok((new, "ok", self.core.scope(&self.spot(key))))
        };
        self.core.counted("update", updating).await
    }

    async fn updated(
        &self,
        key: &K,
        mut change: impl FnMut(Option<T>) -> Option<T> + Send,
    ) -> Result<Option<T>, StateError> {
        let spot = self.spot(key);
        for attempt in 0..ATTEMPTS {
            let (before, source) = self.core.read(&spot, None).await?;
            let expected = match (&before, source) {
                (Some(record), _) => Expected::Version(record.version),
                (None, Source::Store(time)) => Expected::NothingSince(time),
                (None, _) => Expected::Nothing,
            };
            let old = before.map_or(Ok(None), |record| self.decode(&record.bytes))?;
            let new = change(old);
            let is_done = match &new {
                Some(value) => self.core.replace(&spot, &expected, self.encode(value)?, self.core.ttl()).await?,
                None if !matches!(expected, Expected::Version(_)) => true,
                None => self.core.remove(&spot, &expected).await?.is_some(),
            };
            if is_done {
                return Ok(new);
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=2 << attempt.min(6)))).await;
        }
        Err(StateError::Contended)
    }

    /// How many writings wait to be written back.
    pub fn waiting(&self) -> usize {
        self.core.away.waiting()
    }

    fn spot(&self, key: &K) -> Spot {
        key.spot(&self.core.settings.name).0
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>, StateError> {
        let encoded = Values::new().encode(Some(value), Meta::default(), self.core.settings.version);
        Ok(encoded.map_err(StateError::Unencodable)?.to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Option<T>, StateError> {
        match Values::new().decode(&Bytes::copy_from_slice(bytes), self.core.settings.version) {
            Ok((value, _)) => Ok(value),
            Err(error) if self.core.settings.is_strict => Err(StateError::Unreadable(error)),
            Err(error) => {
                tracing::debug!(states = self.core.settings.name, %error, "an unreadable state counts as absent");
                Ok(None)
            }
        }
    }
}

impl<O: KeyPart, I: KeyPart + FromStr, T: Serialize + DeserializeOwned + 'static> States<Owned<O, I>, T> {
    /// What an owner has, from what was written first to what was written last; 10,000 at most. While Redis is out of reach, what this
    /// instance knows of. Ids of more than 128 bytes in their key are not listed.
    pub async fn list(&self, owner: &O) -> Result<Vec<(I, T)>, StateError> {
        let listing = async {
            let scope = if self.core.kit().is_up() { Scope::Everywhere } else { Scope::ThisInstance };
            Ok((self.listed(owner).await?, "ok", scope))
        };
        self.core.counted("list", listing).await
    }

    async fn listed(&self, owner: &O) -> Result<Vec<(I, T)>, StateError> {
        let (name, list) = (&self.core.settings.name, list_of(&self.core.settings.name, owner));
        let members = self.core.members(&list).await?;
        let (mut all, mut gone) = (Vec::with_capacity(members.len()), Vec::new());
        for member in members {
            let at = At { place: list.place.clone(), name: format!("{}:{member}", list.place) };
            let spot = Spot { at, list: Some((list.name.clone(), member.clone())) };
            let id = match key::decode(&member).ok().and_then(|mut parts| parts.pop()) {
                Some(Decoded::Text(text)) => text.parse().ok(),
                _ => None,
            };
            let Some(id) = id else {
                tracing::warn!(
                    states = name,
                    member,
                    "an id is too long for the list, or of another type: it is not listed"
                );
                continue;
            };
            let Some(record) = self.core.read(&spot, None).await?.0 else {
                gone.push(Named { record: spot.at.name, member });
                continue;
            };
            if let Some(value) = self.decode(&record.bytes)? {
                all.push((id, value));
            }
        }
        if !gone.is_empty() && self.core.kit().main().list(&list, 1, &gone).await.is_err() {
            tracing::debug!(states = name, "a list could not be cleaned, and is the next time");
        }
        Ok(all)
    }
}

fn found(is_some: bool) -> &'static str {
    if is_some { "found" } else { "absent" }
}
