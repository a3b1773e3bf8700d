//! Typed values by typed key, with an end: sessions, states of conversations, drafts, results of tasks.

mod away;
mod builder;

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    str::FromStr,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Key, KeyPart, Values,
    codec::{DecodeError, EncodeError, Meta},
    key::{self, Decoded},
    store::StoreError,
};
use serde::{Serialize, de::DeserializeOwned};

use self::away::{Away, Kept};
pub use self::builder::StateBuilder;
use crate::{
    Kit, Scope,
    backend::{At, Expected, Named, Record, Seen, Spot, Version, version},
};

/// How often an update is tried against others.
const ATTEMPTS: u32 = 64;

/// How often a task in an outage looks whether the states are still in use.
const LOOK: Duration = Duration::from_secs(1);

/// How many values a list has at most.
const LONGEST_LIST: usize = 10_000;

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

pub(crate) struct Core {
    settings: StateBuilder,
    away: Arc<Away>,
}

impl Drop for Core {
    /// What waits is written back all the same.
    fn drop(&mut self) {
        if self.away.waiting() > 0
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (kit, name) = (self.settings.kit.clone(), self.settings.name.clone());
            let away = Arc::clone(&self.away);
            runtime.spawn(async move {
                while kit.back().await && !away.write_back(kit.main(), &name).await {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                kit.meter().waiting("state", &name, away.waiting());
            });
        }
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
    /// beginning. `None` removes it. Returns what is there now.
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

impl Core {
    fn kit(&self) -> &Kit {
        &self.settings.kit
    }

    async fn counted<R>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<(R, &'static str, Scope), StateError>>,
    ) -> Result<R, StateError> {
        self.kit().meter().counted("state", &self.settings.name, operation, work).await
    }

    /// For whom what was just done at a place holds.
    fn scope(&self, spot: &Spot) -> Scope {
        if self.away.waiting_at(&spot.at, None).is_some() { Scope::ThisInstance } else { Scope::Everywhere }
    }

    fn tell_waiting(&self) {
        self.kit().meter().waiting("state", &self.settings.name, self.away.waiting());
    }

    fn ttl(&self) -> Duration {
        self.settings.ttl
    }

    /// A record, and who says so.
    pub(crate) async fn read(
        &self,
        spot: &Spot,
        touch: Option<Duration>,
    ) -> Result<(Option<Record>, Source), StateError> {
        if let Some(record) = self.away.waiting_at(&spot.at, touch) {
            let is_unheard = record.as_ref().is_none_or(|record| record.is_of_this_life);
            return Ok((record, if is_unheard { Source::Waiting } else { Source::Memory }));
        }
        let seen = match self.kit().main().read(spot, touch).await {
            Ok(seen) => seen,
            Err(error) => {
                let known = self.away.known_for(&spot.at, touch).ok_or(StateError::Away(error))?;
                if touch.is_some() {
                    self.away.touched(spot);
                }
                return Ok((Some(known), Source::Memory));
            }
        };
        let now = seen.now;
        // Lost with all else that was there, or replaced by what was there before: what is remembered goes back. So does what ended only because Redis
        // did not hear that it was read.
        let lost = self.settings.is_restored.then(|| self.away.lost(&spot.at, &seen)).flatten();
        if let Some(known) = lost.or_else(|| self.away.outlived(&spot.at, &seen)) {
            let expected = seen.record.map_or(Expected::Nothing, |record| Expected::Version(record.version));
            let Record { version, bytes, left, .. } = &known;
            let back = self.kit().main().write(spot, &expected, version, bytes, *left).await;
            return Ok(match back {
                Ok(seen) => (self.noted(spot, seen), Source::Store(now)),
                Err(_) => (Some(known), Source::Memory),
            });
        }
        Ok((self.noted(spot, seen), Source::Store(now)))
    }

    /// So that it is known when an outage begins.
    async fn learn_the_time(&self) {
        let spot = Spot { at: crate::at("state", &self.settings.name, ""), list: None };
        if let Err(error) = self.kit().main().read(&spot, None).await {
            tracing::debug!(states = self.settings.name, %error, "the time of Redis is not known yet");
        }
    }

    /// Remembers it for an outage, where there can be one.
    fn noted(&self, spot: &Spot, seen: Seen) -> Option<Record> {
        if self.kit().is_redis() {
            self.away.note(spot, &seen);
        }
        seen.record
    }

    pub(crate) async fn write(&self, spot: &Spot, bytes: Vec<u8>) -> Result<Scope, StateError> {
        let version = version();
        let contact = self.kit().main().contact();
        match self.kit().main().write(spot, &Expected::Anything, &version, &bytes, self.ttl()).await {
            Ok(seen) => {
                self.noted(spot, seen);
                if self.away.forget_waiting(&spot.at) {
                    self.tell_waiting();
                }
                Ok(Scope::Everywhere)
            }
            Err(error) => {
                self.away.was_there(contact);
                let kept = self.keep(spot, &Expected::Anything, Some((version, bytes)), self.ttl(), error)?;
                if kept.is_some() { Ok(Scope::ThisInstance) } else { Err(StateError::Contended) }
            }
        }
    }

    /// Keeps a writing or a removal until Redis is back, and returns what it replaces. `None`: what this instance knows is not as expected.
    #[allow(clippy::option_option, reason = "nothing was replaced, or nothing was done")]
    fn keep(
        &self,
        spot: &Spot,
        expected: &Expected,
        value: Option<(Version, Vec<u8>)>,
        kept: Duration,
        error: StoreError,
    ) -> Result<Option<Option<Record>>, StateError> {
        if !self.kit().is_redis() {
            return Err(StateError::Away(error));
        }
        let kept = self.away.keep(spot, expected, value, kept, !matches!(error, StoreError::Unavailable));
        self.tell_waiting();
        match kept {
            Kept::InPlaceOf(record) => Ok(Some(record)),
            Kept::NotExpected => Ok(None),
            Kept::Full => Err(StateError::Full),
        }
    }

    /// Whether something waits there, after another attempt to write it back: where Redis is in reach, what is there is for all instances. For who has
    /// the turn.
    async fn still_waits(&self, spot: &Spot) -> bool {
        if self.kit().is_up() && self.away.write_one_back(&spot.at, self.kit().main(), &self.settings.name).await {
            self.tell_waiting();
        }
        self.away.waiting_at(&spot.at, None).is_some()
    }

    /// `false`: what is there is not as expected.
    pub(crate) async fn replace(
        &self,
        spot: &Spot,
        expected: &Expected,
        bytes: Vec<u8>,
        kept: Duration,
    ) -> Result<bool, StateError> {
        let version = version();
        if self.away.waiting_at(&spot.at, None).is_some() {
            let _turn = self.away.turn().await;
            if self.still_waits(spot).await {
                let value = Some((version, bytes));
                return Ok(self.keep(spot, expected, value, kept, StoreError::Unavailable)?.is_some());
            }
        }
        let mut written = self.kit().main().write(spot, expected, &version, &bytes, kept).await;
        if let Err(StoreError::Timeout) = written {
            // Asking again tells whether it was, or somebody else was before.
            written = self.kit().main().write(spot, expected, &version, &bytes, kept).await;
        }
        match written {
            Ok(seen) => Ok(self.noted(spot, seen).is_some_and(|record| record.version == version)),
            Err(error) => Ok(self.keep(spot, expected, Some((version, bytes)), kept, error)?.is_some()),
        }
    }

    /// What was removed; `None` if nothing was there, or not what was expected.
    pub(crate) async fn remove(&self, spot: &Spot, expected: &Expected) -> Result<Option<Record>, StateError> {
        let who = version();
        if self.away.waiting_at(&spot.at, None).is_some() {
            let _turn = self.away.turn().await;
            if self.still_waits(spot).await {
                let removed = self.keep(spot, expected, None, self.ttl(), StoreError::Unavailable)?;
                return Ok(removed.flatten());
            }
        }
        let mut removed = self.kit().main().remove(spot, expected, &who).await;
        if let Err(StoreError::Timeout) = removed {
            // It may have been removed, and nobody else would get it.
            removed = self.kit().main().remove(spot, expected, &who).await;
        }
        match removed {
            Ok(removed) => {
                if removed.is_done && self.kit().is_redis() {
                    self.away.removed(spot, &removed.seen);
                } else {
                    self.away.forget(&spot.at);
                }
                Ok(removed.seen.record.filter(|_| removed.is_done))
            }
            Err(error) if self.away.known_for(&spot.at, None).is_none() => Err(StateError::Away(error)),
            Err(error) => Ok(self.keep(spot, expected, None, self.ttl(), error)?.flatten()),
        }
    }

    async fn members(&self, list: &At) -> Result<Vec<String>, StateError> {
        let mut members = match self.kit().main().list(list, LONGEST_LIST, &[]).await {
            Ok(members) => members,
            Err(_) if self.kit().is_redis() => self.away.known_in(list),
            Err(error) => return Err(StateError::Away(error)),
        };
        let mut others = self.away.waiting_in(list);
        // Lost with the states, which are restored when they are read.
        if self.settings.is_restored
            && self.kit().is_redis()
            && let Ok(seen) = self.kit().main().read(&Spot { at: list.clone(), list: None }, None).await
            && self.away.may_be_lost(list, &seen.incarnation)
        {
            others.extend(self.away.known_in(list));
        }
        for member in others {
            if !members.contains(&member) {
                members.push(member);
            }
        }
        Ok(members)
    }
}

/// Who says what a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Where it is kept, at this time there.
    Store(u64),
    /// This instance, which has written it while that was out of reach.
    Waiting,
    /// This instance's memory of it.
    Memory,
}

impl Source {
    pub(crate) fn scope(self) -> Scope {
        if matches!(self, Self::Store(_)) { Scope::Everywhere } else { Scope::ThisInstance }
    }
}

/// Writes back what was written in an outage, for as long as the states are in use.
async fn write_back(kit: Kit, core: Weak<Core>) {
    loop {
        // States that are gone wait for nothing, whatever becomes of Redis.
        match tokio::time::timeout(LOOK, kit.back()).await {
            Ok(true) => {}
            Err(_) if core.strong_count() > 0 => continue,
            Ok(false) | Err(_) => return,
        }
        let Some(core) = core.upgrade() else { return };
        if kit.main().contact() == 0 {
            core.learn_the_time().await;
        }
        let had_some = core.away.waiting() > 0;
        let is_done = core.away.write_back(kit.main(), &core.settings.name).await;
        if had_some {
            core.tell_waiting();
        }
        drop(core);
        if is_done {
            // Also what was kept because an answer was missing, without an outage.
            tokio::select! {
                _ = kit.away() => {}
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
