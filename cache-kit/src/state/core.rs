//! States as records: read, written and removed where they are kept, or by what this instance remembers.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use cache_core::store::StoreError;

use super::{
    StateBuilder, StateError,
    away::{Away, Kept},
};
use crate::{
    Kit, Scope,
    backend::{At, Expected, Record, Seen, Spot, Version, version},
};

/// How often a task in an outage looks whether the states are still in use.
const LOOK: Duration = Duration::from_secs(1);

/// How many values a list has at most.
const LONGEST_LIST: usize = 10_000;

/// What states of all types are made of.
pub(crate) struct Core {
    pub(super) settings: StateBuilder,
    pub(super) away: Arc<Away>,
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

impl Core {
    pub(super) fn kit(&self) -> &Kit {
        &self.settings.kit
    }

    pub(super) async fn counted<R>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<(R, &'static str, Scope), StateError>>,
    ) -> Result<R, StateError> {
        self.kit().meter().counted("state", &self.settings.name, operation, work).await
    }

    /// For whom what was just done at a place holds.
    pub(super) fn scope(&self, spot: &Spot) -> Scope {
        if self.away.waiting_at(&spot.at, None).is_some() { Scope::ThisInstance } else { Scope::Everywhere }
    }

    pub(super) fn tell_waiting(&self) {
        self.kit().meter().waiting("state", &self.settings.name, self.away.waiting());
    }

    pub(super) fn ttl(&self) -> Duration {
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

    pub(super) async fn members(&self, list: &At) -> Result<Vec<String>, StateError> {
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
pub(super) async fn write_back(kit: Kit, core: Weak<Core>) {
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
