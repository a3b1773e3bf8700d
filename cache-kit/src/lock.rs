//! Locks: one holder at a time, for as long as it lives and is heard of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_core::{KeyPart, store::StoreError};
use tokio::{sync::watch, time::Instant};

use crate::{
    Kit, LONGEST, Scope,
    backend::{Asked, At, Backend, Version, version},
    memory::Memory,
};

/// How long a place in the queue lasts unless its owner asks again.
const PLACE: Duration = Duration::from_secs(2);

/// How long a waiter waits at most before it asks again.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Others held it for all of the time that the caller would wait.
    #[error("others hold the lock")]
    Taken,
    /// Redis is out of reach, and a lock for this instance alone would not do.
    #[error("the lock is out of reach")]
    Away(#[source] StoreError),
}

/// Locks that one holder has at a time, by key. Cheap to clone.
///
/// A lock is a lease: its holder renews it, and who dies or hangs loses it. So it keeps work from being done twice *as a rule* (efficiency). A
/// holder that hangs for longer than the lease and goes on does not know that it has lost it. Correctness needs the
/// [fencing token](Guard::fence): a number above those of all earlier holders, which what is written to has to compare, and refuse a lower one.
/// (M. Kleppmann, *How to do distributed locking*, 2016.)
///
/// Within one instance there is never more than one holder, around an outage either.
///
/// Who waits is served in the order of asking, and waits no longer than it says.
#[derive(Clone, Debug)]
pub struct Locks {
    kit: Kit,
    name: String,
    lasts: Duration,
    is_strict: bool,
}

impl Locks {
    pub(crate) fn new(kit: Kit, name: &str) -> Self {
        Self { kit, name: name.to_owned(), lasts: Duration::from_secs(10), is_strict: false }
    }

    /// How long a holder keeps the lock after it was last heard of; 10 seconds by default, 100 ms at least. It is renewed three times as often.
    #[must_use]
    pub fn lasts(mut self, lasts: Duration) -> Self {
        self.lasts = lasts.clamp(Duration::from_millis(100), LONGEST);
        self
    }

    /// While Redis is out of reach there is no lock: [`LockError::Away`]. Otherwise it is one for this instance then.
    #[must_use]
    pub fn for_all_or_none(mut self) -> Self {
        self.is_strict = true;
        self
    }

    /// The lock, if nobody has it, nor waits for it.
    pub async fn try_acquire<K: KeyPart + ?Sized>(&self, key: &K) -> Result<Guard, LockError> {
        self.acquire(key, Duration::ZERO).await
    }

    /// The lock, waiting for it no longer than that.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the place in the queue, and the lock if it has just been granted.
    pub async fn acquire<K: KeyPart + ?Sized>(&self, key: &K, waits: Duration) -> Result<Guard, LockError> {
        let at = crate::at("lock", &self.name, key);
        let mut asking = Asking { locks: self, at, who: version(), is_over: false };
        let call = self.kit.meter().call("lock", &self.name, "acquire");
        let result = asking.ask(Instant::now() + waits.min(LONGEST), waits > Duration::ZERO).await;
        asking.is_over = result.is_ok();
        match &result {
            Ok(guard) => call.end("held", guard.scope()),
            Err(LockError::Taken) => call.end("taken", Scope::Everywhere),
            Err(LockError::Away(_)) => call.fail(),
        }
        result
    }
}

/// Somebody who asks for a lock.
struct Asking<'a> {
    locks: &'a Locks,
    at: At,
    who: Version,
    is_over: bool,
}

impl Asking<'_> {
    async fn ask(&self, deadline: Instant, may_wait: bool) -> Result<Guard, LockError> {
        let place = may_wait.then_some(PLACE);
        let Locks { kit, lasts, is_strict, .. } = self.locks;
        loop {
            let asked = Instant::now();
            // Those of an outage go by the clock of this instance, which may be ahead.
            let above = kit.instead(StoreError::Unavailable).map_or(0, Memory::fence);
            let (mut answer, scope) = match kit.main().lock(&self.at, &self.who, *lasts, place, above).await {
                // It may be held: asking again tells.
                Err(StoreError::Timeout) if asked < deadline => continue,
                Err(error) if *is_strict => return Err(LockError::Away(error)),
                Err(error) => {
                    let here = kit.instead(error).map_err(LockError::Away)?;
                    (here.lock(&self.at, &self.who, *lasts, place, 0).await, Scope::ThisInstance)
                }
                answer => (answer, Scope::Everywhere),
            };
            // Also what is held here counts: from before an outage, or from one.
            if scope == Scope::Everywhere
                && let Ok(Asked::Held(fence)) = answer
                && let Ok(here) = kit.instead(StoreError::Unavailable)
            {
                answer = Ok(here.lock_above(&self.at, &self.who, *lasts, place, fence));
            }
            match answer.map_err(LockError::Away)? {
                Asked::Held(fence) => return Ok(self.guard(fence, scope, asked + *lasts)),
                Asked::Taken(left) => {
                    let left = left.min(PAUSE).max(Duration::from_millis(2)).mul_f64(0.5 + fastrand::f64() / 2.0);
                    if Instant::now() + left >= deadline {
                        return Err(LockError::Taken);
                    }
                    tokio::time::sleep(left).await;
                }
            }
        }
    }

    fn guard(&self, fence: u64, scope: Scope, until: Instant) -> Guard {
        let (state, _) = watch::channel(until);
        let held = Held {
            kit: self.locks.kit.clone(),
            name: self.locks.name.clone(),
            at: self.at.clone(),
            who: self.who,
            lasts: self.locks.lasts,
            scope,
            until: state,
            is_lost: AtomicBool::new(false),
        };
        let held = Arc::new(held);
        let renewing = tokio::spawn(renew(Arc::clone(&held)));
        Guard { held, fence, renewing, is_released: false }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            give_back(self.locks.kit.clone(), self.at.clone(), self.who);
        }
    }
}

/// Gives up the lock or the place in the queue, wherever it is.
fn give_back(kit: Kit, at: At, who: Version) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move { release(&kit, &at, &who, Scope::Everywhere).await });
    }
}

/// `false`: it was somebody else's, or nobody's.
async fn release(kit: &Kit, at: &At, who: &Version, scope: Scope) -> bool {
    let main = kit.main().keep(at, who, None).await;
    if let Err(error) = &main {
        tracing::debug!(lock = at.name, %error, "a lock could not be given back, and lapses");
    }
    let here = match kit.instead(StoreError::Unavailable) {
        Ok(here) => here.keep(at, who, None).await,
        Err(error) => Err(error),
    };
    // Whoever has no answer goes by the lease.
    (if scope == Scope::Everywhere { main } else { here }).unwrap_or(true)
}

struct Held {
    kit: Kit,
    /// Of the locks, as they were made.
    name: String,
    at: At,
    who: Version,
    lasts: Duration,
    scope: Scope,
    /// Until when it is held for sure.
    until: watch::Sender<Instant>,
    is_lost: AtomicBool,
}

impl Held {
    async fn keep(&self) -> Result<bool, StoreError> {
        match self.scope {
            Scope::Everywhere => {
                let kept = self.kit.main().keep(&self.at, &self.who, Some(self.lasts)).await;
                if let (Ok(true), Ok(here)) = (&kept, self.kit.instead(StoreError::Unavailable)) {
                    here.keep(&self.at, &self.who, Some(self.lasts)).await?;
                }
                kept
            }
            Scope::ThisInstance => {
                let here = self.kit.instead(StoreError::Unavailable)?;
                here.keep(&self.at, &self.who, Some(self.lasts)).await
            }
        }
    }
}

/// Keeps the lock until the guard is gone, or it is lost.
async fn renew(held: Arc<Held>) {
    loop {
        tokio::time::sleep(held.lasts / 3).await;
        let asked = Instant::now();
        match held.keep().await {
            Ok(true) => {
                held.until.send_replace(asked + held.lasts);
            }
            // Until it has lapsed it may still be renewed.
            Err(_) if asked < *held.until.borrow() => {}
            Ok(false) | Err(_) => break,
        }
    }
    held.is_lost.store(true, Ordering::SeqCst);
    held.until.send_modify(|_| {});
    held.kit.meter().happened("lock", &held.name, "lost");
    tracing::warn!(lock = held.at.name, "a lock was lost while it was held");
}

/// A lock that is held. Dropped, it is given back, in a task.
#[must_use = "the lock is given back when this is dropped"]
pub struct Guard {
    held: Arc<Held>,
    fence: u64,
    renewing: tokio::task::JoinHandle<()>,
    is_released: bool,
}

impl Guard {
    /// A number above those of all who held the lock before, for what is written to under it.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// From whom it keeps others away.
    pub fn scope(&self) -> Scope {
        self.held.scope
    }

    /// Whether it may be somebody else's by now: it lapsed, or was taken away.
    pub fn is_lost(&self) -> bool {
        self.held.is_lost.load(Ordering::SeqCst) || Instant::now() >= *self.held.until.borrow()
    }

    /// Waits until it is lost: to end what is done under it.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost by dropping the future.
    pub async fn lost(&self) {
        let mut changes = self.held.until.subscribe();
        while !self.is_lost() {
            let until = *changes.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// Gives it back, and waits for that. Whether it was held until now.
    pub async fn release(mut self) -> bool {
        let was_held = !self.is_lost();
        self.renewing.abort();
        let was_own = release(&self.held.kit, &self.held.at, &self.held.who, self.held.scope).await;
        self.is_released = true;
        was_held && was_own
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.renewing.abort();
        if !self.is_released {
            give_back(self.held.kit.clone(), self.held.at.clone(), self.held.who);
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("lock", &self.held.at.name).field("fence", &self.fence).finish_non_exhaustive()
    }
}
