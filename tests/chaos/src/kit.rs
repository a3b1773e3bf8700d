//! What else the service keeps in Redis: codes, locks, sessions and limits, used all the time and by all instances.
//!
//! What is told here is judged by rules that hold whatever breaks: no code is accepted twice, no fence is given out twice, a session never goes back to
//! what it was before, and no call fails or hangs.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use staleproof::{
    Cache,
    kit::{Codes, Heard, Kit, LockError, Owned, Quota, Scope, StateError, States, Topic, Verdict},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    fact::{Fact, Life},
    instance::Teller,
};

/// How long a call may take on a machine where processes are stopped for seconds.
const HANGS: Duration = Duration::from_secs(15);

/// How many locks and how many accounts there are.
const LOCKS: u64 = 4;
const ACCOUNTS: u64 = 8;

/// Something that a block has granted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Granted {
    /// A code was accepted.
    Code(String),
    /// A lock was had, for all instances.
    Fence { lock: u64, fence: u64 },
    /// A session was written or read and was as it should be.
    Session,
    /// A limit was asked.
    Decision,
    /// A message was heard.
    Message,
}

/// What was granted by all instances.
#[derive(Default)]
pub(crate) struct Ledger {
    codes: HashSet<String>,
    fences: HashSet<(u64, u64)>,
    pub(crate) sessions: u64,
    pub(crate) decisions: u64,
    pub(crate) messages: u64,
}

impl Ledger {
    /// Notes it. Returns what must not be.
    pub(crate) fn note(&mut self, granted: Granted) -> Option<String> {
        match granted {
            Granted::Code(code) if !self.codes.insert(code.clone()) => {
                return Some(format!("the code {code} was accepted twice"));
            }
            Granted::Fence { lock, fence } if !self.fences.insert((lock, fence)) => {
                return Some(format!("the fence {fence} of lock {lock} was given out twice"));
            }
            Granted::Code(_) | Granted::Fence { .. } => {}
            Granted::Session => self.sessions += 1,
            Granted::Decision => self.decisions += 1,
            Granted::Message => self.messages += 1,
        }
        None
    }

    pub(crate) fn codes(&self) -> usize {
        self.codes.len()
    }

    pub(crate) fn fences(&self) -> usize {
        self.fences.len()
    }
}

type Sessions = States<Owned<Life, u64>, u64>;

/// Uses the blocks until it is dropped.
pub(crate) async fn run(cache: Cache, life: Life, teller: Teller) {
    let kit = Kit::of(&cache);
    let codes = kit.codes("login").ttl(Duration::from_mins(1)).attempts(50).digits(12);
    let user = Arc::new(User { kit: kit.clone(), codes, issued: kit.topic("codes"), life, teller });
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&user).issue());
    for _ in 0..2 {
        tasks.spawn(Arc::clone(&user).enter());
    }
    for _ in 0..3 {
        tasks.spawn(Arc::clone(&user).lock());
    }
    tasks.spawn(Arc::clone(&user).keep_sessions());
    tasks.spawn(Arc::clone(&user).limit());
    while let Some(ended) = tasks.join_next().await {
        let why = ended.err().map_or("it returned".to_owned(), |error| error.to_string());
        user.teller.tell(Fact::Error(format!("a task over the kit ended: {why}")));
    }
}

struct User {
    kit: Kit,
    codes: Codes,
    issued: Topic<(u64, String)>,
    life: Life,
    teller: Teller,
}

impl User {
    fn tell(&self, granted: Granted) {
        self.teller.tell(Fact::Kit(granted));
    }

    fn broken(&self, what: String) {
        self.teller.tell(Fact::Error(what));
    }

    /// What the call returns, unless it hangs.
    async fn in_time<T>(&self, what: &str, call: impl Future<Output = T>) -> Option<T> {
        let result = timeout(HANGS, call).await.ok();
        if result.is_none() {
            self.broken(format!("{what} hangs"));
        }
        result
    }

    /// Issues codes, and tells them to all.
    async fn issue(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(fastrand::u64(20..120))).await;
            let account = fastrand::u64(0..ACCOUNTS);
            match self.in_time("issuing", self.codes.issue(&account)).await {
                Some(Ok(code)) => {
                    if let Some(Err(error)) = self.in_time("publishing", self.issued.publish(&(account, code))).await {
                        self.broken(format!("publishing: {error}"));
                    }
                }
                Some(Err(error)) => self.broken(format!("issuing: {error}")),
                None => {}
            }
        }
    }

    /// Tries each code that it hears of, as all others do at the same time.
    async fn enter(self: Arc<Self>) {
        let mut heard = self.issued.subscribe().await;
        while let Some(heard) = heard.next().await {
            let Heard::Message((account, code)) = heard else { continue };
            self.tell(Granted::Message);
            match self.in_time("verifying", self.codes.verify(&account, &code)).await {
                Some(Ok(Verdict::Accepted)) => self.tell(Granted::Code(format!("{account}/{code}"))),
                Some(Ok(_) | Err(StateError::Away(_) | StateError::Contended)) | None => {}
                Some(Err(error)) => self.broken(format!("verifying: {error}")),
            }
        }
    }

    async fn lock(self: Arc<Self>) {
        let locks = self.kit.locks("slot").lasts(Duration::from_secs(2));
        loop {
            sleep(Duration::from_millis(fastrand::u64(1..40))).await;
            let lock = fastrand::u64(0..LOCKS);
            match self.in_time("locking", locks.acquire(&lock, Duration::from_millis(500))).await {
                Some(Ok(guard)) => {
                    if guard.scope() == Scope::Everywhere {
                        self.tell(Granted::Fence { lock, fence: guard.fence() });
                    }
                    sleep(Duration::from_millis(fastrand::u64(0..10))).await;
                    self.in_time("unlocking", guard.release()).await;
                }
                Some(Err(LockError::Taken)) | None => {}
                Some(Err(error)) => self.broken(format!("locking: {error}")),
            }
        }
    }

    /// Nobody else writes these: what is read is what was written last, or was evicted.
    async fn keep_sessions(self: Arc<Self>) {
        let sessions: Sessions = self.kit.states("session").ttl(Duration::from_mins(5)).restored_after_loss().build();
        let mut written = [0_u64; 4];
        for number in 1_u64.. {
            sleep(Duration::from_millis(fastrand::u64(1..30))).await;
            let id = fastrand::u64(0..4);
            let (key, last) = (Owned { owner: self.life, id }, &mut written[usize::try_from(id).expect("below four")]);
            if fastrand::bool() {
                match self.in_time("writing a session", sessions.put(&key, &number)).await {
                    Some(Ok(_)) => *last = number,
                    // It may have been written.
                    None => *last = 0,
                    Some(Err(error)) => self.broken(format!("writing a session: {error}")),
                }
                continue;
            }
            match self.in_time("reading a session", sessions.get(&key)).await {
                Some(Ok(Some(found))) if found < *last => {
                    self.broken(format!("a session went back from {last} to {found}"));
                }
                Some(Ok(_)) => self.tell(Granted::Session),
                Some(Err(StateError::Away(_))) | None => {}
                Some(Err(error)) => self.broken(format!("reading a session: {error}")),
            }
        }
    }

    async fn limit(self: Arc<Self>) {
        let limiter = self.kit.limiter("api", Quota::per_second(50));
        loop {
            sleep(Duration::from_millis(fastrand::u64(1..20))).await;
            if self.in_time("a limit", limiter.check(&fastrand::u64(0..ACCOUNTS))).await.is_some() {
                self.tell(Granted::Decision);
            }
        }
    }
}
