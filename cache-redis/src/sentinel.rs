//! Asking sentinels which server is the primary, and noticing that another has become it.
//!
//! All of them are asked at once: those that the URL names and those that they know of, so that seeds which died later
//! are no loss. The connections stay open between the questions. [`votes`] says what the answers come to.
//!
//! They are asked before a server is joined, once more when it is, twice a second from then on, and whenever one of them
//! tells of a change. They are also asked after a server has acknowledged an invalidation: one that was deposed goes on to
//! acknowledge, and then nobody on the new one hears of it. What more than half call the primary *afterwards* cannot have
//! been replaced before.
//!
//! The client of the `redis` crate is not used for this: it believes the first sentinel that answers, for which it waits
//! without a bound of its own, it does not learn of others, and it opens a second connection to the server.

mod ask;
mod confirm;
mod votes;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::ConnectionInfo;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use self::{
    ask::Sentinel,
    confirm::Confirmations,
    votes::{Answer, Choice, Other, Votes},
};
use crate::{
    config::{Topology, elsewhere, place},
    error::{ConnectError, NoAnswer},
};

/// So long at most a question goes on whose answer nobody waits for any more.
const LONGEST: Duration = Duration::from_secs(1);

/// The sentinels of a service.
pub(crate) struct Sentinels {
    service: Arc<str>,
    /// How to connect to a server that they name.
    server: ConnectionInfo,
    seeds: Vec<ConnectionInfo>,
    /// How to connect to a sentinel that is no seed.
    seed: ConnectionInfo,
    /// What may be logged.
    at: String,
    known: Arc<Mutex<Known>>,
    switched: Arc<Notify>,
    confirmations: Confirmations,
    /// How long an answer may take after the first one: the bound on calls.
    patience: Duration,
}

/// What came of the questions so far.
#[derive(Default)]
struct Known {
    /// Those that the sentinels know of each other.
    learned: Vec<Other>,
    /// Connections to sentinels, by place.
    open: HashMap<String, Sentinel>,
    /// The configuration that was believed last.
    epoch: u64,
    /// Too few answer, and that took all the time there was.
    are_silent: bool,
}

/// What the sentinels said within the time.
struct Round {
    votes: Votes,
    refusals: Vec<ConnectError>,
}

impl Sentinels {
    /// Those of the address, if it has any.
    pub(crate) fn of(topology: &Topology, patience: Duration) -> Option<Self> {
        let Topology::Sentinel { service, sentinels, server } = topology else { return None };
        Some(Self {
            at: topology.to_string(),
            seed: sentinels.first()?.clone(),
            service: service.as_str().into(),
            server: server.clone(),
            seeds: sentinels.clone(),
            known: Arc::default(),
            switched: Arc::default(),
            confirmations: Confirmations::default(),
            patience,
        })
    }

    /// The primary, as far as they know within the bound.
    pub(crate) async fn primary(&self, bound: Duration) -> Result<ConnectionInfo, ConnectError> {
        let round = self.ask(bound, true).await;
        let mut known = self.known();
        if let Some(Choice { primary: (host, port), epoch, .. }) = round.votes.choice(known.epoch) {
            known.epoch = epoch;
            return Ok(elsewhere(&self.server, &host, port));
        }
        Err(round.refusal(&self.at, bound))
    }

    /// The server that has become the primary instead of this one, if they say so.
    pub(crate) async fn successor(&self, of: &str, bound: Duration) -> Option<String> {
        let round = self.ask(bound, true).await;
        self.named_instead(of, &round.votes)
    }

    /// The number of the failover that has made the primary what it is, if there was one and they tell.
    pub(crate) fn reign(&self) -> Option<u64> {
        Some(self.known().epoch).filter(|epoch| *epoch != 0)
    }

    fn named_instead(&self, of: &str, votes: &Votes) -> Option<String> {
        let seen = self.known().epoch;
        let Choice { primary: (host, port), epoch, is_agreed } = votes.choice(seen)?;
        let named = place(&elsewhere(&self.server, &host, port));
        (named != of && (is_agreed || epoch > seen)).then_some(named)
    }

    /// Waits until one of them tells that the primary has changed.
    pub(crate) async fn switched(&self) {
        self.switched.notified().await;
    }

    /// Asks all of them, until more than half agree or the time is up; or if not `all`, those only that are connected,
    /// and not for others. Who has not answered by then may still do so, for the sake of the connection.
    async fn ask(&self, bound: Duration, all: bool) -> Round {
        let mut until = Instant::now() + bound;
        let (mut round, mut asked) = (self.round(), Asked::new(all));
        for sentinel in if all { self.reachable() } else { self.connected() } {
            asked.begin(self, &sentinel);
        }
        let mut is_agreed = false;
        while !is_agreed && let Ok(Some(result)) = timeout_at(until, asked.next()).await {
            match result {
                Ok(answer) => {
                    for other in answer.others.iter().filter(|other| !round.votes.has(&other.id)) {
                        asked.begin(self, &self.beside(other));
                    }
                    if round.votes.is_empty() {
                        until = until.min(Instant::now() + self.patience);
                    }
                    round.votes.add(answer);
                    is_agreed = round.votes.agreed(asked.hopeful()).is_some();
                }
                Err(error) => {
                    asked.refused += 1;
                    round.refusals.push(error);
                }
            }
        }
        // What had the whole time and no answer may be dead. Whom nobody knows any more is not asked again.
        let is_good = |at: &String| asked.begun.contains(at) && (is_agreed || !asked.waiting.contains(at));
        let mut known = self.known();
        if all {
            known.open.retain(|at, _| is_good(at));
        }
        known.are_silent = !asked.waiting.is_empty() && !round.votes.are_enough();
        drop(known);
        self.learn(&round.votes);
        asked.tasks.detach_all();
        round
    }

    fn round(&self) -> Round {
        Round { votes: Votes::new(self.known().learned.clone()), refusals: Vec::new() }
    }

    /// The seeds, and those beside them that are known; a seed by the address in the URL only.
    fn reachable(&self) -> Vec<ConnectionInfo> {
        let known = self.known();
        let is_seed = |id: &String| {
            self.seeds.iter().any(|seed| known.open.get(&place(seed)).is_some_and(|sentinel| sentinel.id() == id))
        };
        let learned = known.learned.iter().filter(|other| !is_seed(&other.id)).map(|other| self.beside(other));
        self.seeds.iter().cloned().chain(learned).collect()
    }

    /// Those that can be asked at once.
    fn connected(&self) -> Vec<ConnectionInfo> {
        self.known().open.values().map(|sentinel| sentinel.info().clone()).collect()
    }

    fn learn(&self, votes: &Votes) {
        let others: HashMap<_, _> = votes.others().map(|other| (&other.id, other)).collect();
        if !others.is_empty() {
            self.known().learned = others.into_values().cloned().collect();
        }
    }

    /// How to connect to a sentinel that another one knows.
    fn beside(&self, other: &Other) -> ConnectionInfo {
        elsewhere(&self.seed, &other.host, other.port)
    }

    /// Asks one, over its connection or, if `all` are asked, a new one.
    fn question(&self, info: ConnectionInfo, all: bool) -> impl Future<Output = Asking> + Send + use<> {
        let (at, open) = (place(&info), self.known().open.get(&place(&info)).cloned());
        let (service, switched, known) =
            (Arc::clone(&self.service), Arc::clone(&self.switched), Arc::clone(&self.known));
        async move {
            if let Some(sentinel) = open {
                let result = sentinel.ask(&service, all).await;
                if result.is_ok() || !all {
                    return result;
                }
            }
            let sentinel = Sentinel::open(&info, switched).await?;
            lock(&known).open.insert(at, sentinel.clone());
            sentinel.ask(&service, all).await
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sentinel's answer.
type Asking = Result<Answer, ConnectError>;

/// Questions that are under way.
struct Asked {
    /// They are for the other sentinels, too.
    all: bool,
    begun: HashSet<String>,
    waiting: HashSet<String>,
    tasks: JoinSet<(String, Asking)>,
    refused: usize,
}

impl Asked {
    fn new(all: bool) -> Self {
        Self { all, begun: HashSet::new(), waiting: HashSet::new(), tasks: JoinSet::new(), refused: 0 }
    }

    /// Asks this sentinel, once.
    fn begin(&mut self, sentinels: &Sentinels, info: &ConnectionInfo) {
        let at = place(info);
        if self.begun.insert(at.clone()) {
            self.waiting.insert(at.clone());
            let question = timeout(LONGEST, sentinels.question(info.clone(), self.all));
            self.tasks.spawn(async move {
                let answer = question.await.unwrap_or_else(|_| Err(ConnectError::unreachable(&at, NoAnswer(LONGEST))));
                (at, answer)
            });
        }
    }

    /// How many have answered or may still do.
    fn hopeful(&self) -> usize {
        self.begun.len() - self.refused
    }

    /// The next answer.
    async fn next(&mut self) -> Option<Asking> {
        loop {
            // One that panicked has no answer.
            if let Ok((at, answer)) = self.tasks.join_next().await? {
                self.waiting.remove(&at);
                return Some(answer);
            }
        }
    }
}

impl Round {
    /// Why nobody named a primary: rather what will not pass by itself.
    fn refusal(mut self, at: &str, bound: Duration) -> ConnectError {
        if !self.votes.is_empty() {
            return ConnectError::unreachable(at, "the sentinels that answer are behind the others");
        }
        self.refusals.sort_by_key(ConnectError::is_temporary);
        self.refusals.into_iter().next().unwrap_or_else(|| ConnectError::unreachable(at, NoAnswer(bound)))
    }
}
