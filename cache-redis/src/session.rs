//! What calls go over: the connection to the server, or in a cluster one to each primary.
//!
//! A session is opened as a whole and given up as a whole: in a cluster, too, one primary that is lost makes Redis out of
//! reach. Each call is for a partition and goes to its owner. An answer comes with the connection that gave it, since a
//! root counts only if it is of the incarnation of the server that answered.
//!
//! A slot may move to another primary. `MOVED` says that a command was not executed and where the slot is now: it is sent
//! there. If the session does not know that server it is to be given up; the next one will. A slot that is on its way
//! (`ASK`, `TRYAGAIN`, or a server has said so) has [an answer of its own](Answer::OnTheMove). Nothing else is ever sent
//! again.

mod cluster;
mod map;
mod moving;
mod opening;
mod walk;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tokio::{sync::Notify, time::Instant};

use self::cluster::Cluster;
pub(crate) use self::opening::Seen;
use crate::{
    call_error::CallError,
    config::Address,
    connection::{Connection, Incarnation, checked},
    name::Names,
    partition::Partition,
    reads::{self, Findings, Wanted},
};

/// How often a call is sent before those who say that its keys are elsewhere are taken to be at odds.
const ATTEMPTS: usize = 5;

/// What calls go over.
#[derive(Debug)]
pub(crate) struct Session {
    /// To the server, or to one of the primaries.
    first: Connection,
    /// The other primaries, and who owns what.
    cluster: Option<Box<Cluster>>,
    closed: Arc<Notify>,
    opened: Instant,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Answer<'a, T = Value> {
    /// A reply, and the connection that it came over.
    From(&'a Connection, T),
    /// Nothing was done: the partition's slot is on its way from one primary to another. It is as if in quarantine: nothing
    /// is read from it and nothing stored.
    OnTheMove,
}

impl Session {
    fn new(first: Connection, cluster: Option<Box<Cluster>>, closed: Arc<Notify>) -> Self {
        Self { first, cluster, closed, opened: Instant::now() }
    }

    /// How long it has been open.
    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Waits until a server has closed its connection.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// The incarnations of all servers.
    pub(crate) fn incarnations(&self) -> Arc<[Incarnation]> {
        self.connections().map(|connection| *connection.incarnation()).collect()
    }

    /// Whether all data are known to be those of servers that were seen before.
    pub(crate) fn is_of(&self, incarnations: &[Incarnation]) -> bool {
        self.connections().all(|connection| connection.is_one_of(incarnations))
    }

    /// Whether what is sent to it is executed in one order.
    pub(crate) fn is_one_server(&self) -> bool {
        self.cluster.is_none()
    }

    /// The connection to the partition's owner.
    pub(crate) fn connection(&self, at: Partition) -> &Connection {
        self.cluster.as_ref().map_or(&self.first, |cluster| self.nth(cluster.route(at)))
    }

    pub(crate) fn connections(&self) -> impl Iterator<Item = &Connection> {
        std::iter::once(&self.first).chain(self.cluster.iter().flat_map(|cluster| &cluster.others))
    }

    /// The connection of this number, of which there is one.
    pub(crate) fn nth(&self, number: usize) -> &Connection {
        match (&self.cluster, number.checked_sub(1)) {
            (Some(cluster), Some(other)) => &cluster.others[other],
            _ => &self.first,
        }
    }

    /// Where it goes to, for logs.
    pub(crate) fn at(&self) -> &str {
        self.cluster.as_ref().map_or(self.first.at(), |cluster| &cluster.at)
    }

    /// Whether every server takes writes, in time, and is still what it was when the connection was opened. The servers of
    /// a cluster also say which slots are on their way, and whether one of them was replaced without noticing.
    pub(crate) async fn prove(&self, names: &Names, bound: Duration) -> Result<bool, CallError> {
        let Some(cluster) = &self.cluster else {
            return prove(&self.first, Some(names.never(Partition::WHOLE)), bound).await;
        };
        let numbered = || self.connections().enumerate();
        let proofs = numbered().map(|(number, connection)| self.prove_one(cluster, names, number, connection, bound));
        if !all(join_all(proofs).await)?.into_iter().all(|is_same| is_same) {
            return Ok(false);
        }
        let views = all(join_all(self.connections().map(|connection| connection.view(bound))).await)?;
        cluster.note_moves(&views);
        match cluster.successor(&views) {
            Some(successor) => Err(CallError::Moved(successor.to_owned())),
            None => Ok(true),
        }
    }

    /// Opens connections for large values where there are any, and keeps those that are open.
    pub(crate) async fn tend_large(&self, address: &Address, bound: Duration, opening: Duration) {
        join_all(self.connections().map(|connection| connection.tend_large(address, bound, opening))).await;
    }

    async fn prove_one(
        &self,
        cluster: &Cluster,
        names: &Names,
        number: usize,
        connection: &Connection,
        bound: Duration,
    ) -> Result<bool, CallError> {
        let owned = Partition::all().find(|at| cluster.route(*at) == number);
        match prove(connection, owned.map(|at| names.never(at)), bound).await {
            // The slot is on its way, or was given away: an answer of a server that serves.
            Err(CallError::OnTheMove(_)) => connection.is_same_incarnation(bound).await,
            Err(CallError::Moved(to)) => {
                owned.map_or(Ok(()), |at| cluster.reroute(at, number, &to))?;
                connection.is_same_incarnation(bound).await
            }
            result => result,
        }
    }

    /// Sends a command to the owner of its keys.
    pub(crate) async fn send(
        &self,
        at: Partition,
        bound: Duration,
        build: impl Fn(&Connection) -> Cmd,
    ) -> Result<Answer<'_>, CallError> {
        let Some(cluster) = &self.cluster else {
            let reply = self.first.send(&build(&self.first), bound).await?;
            return Ok(Answer::From(&self.first, reply));
        };
        if cluster.is_moving(at) {
            return Ok(Answer::OnTheMove);
        }
        let deadline = Instant::now() + bound;
        for _ in 1..ATTEMPTS {
            let owner = cluster.route(at);
            let reply = self.nth(owner).send(&build(self.nth(owner)), left(deadline)).await;
            if let Some(answer) = self.settle(cluster, at, owner, reply)? {
                return Ok(answer);
            }
        }
        let connection = self.connection(at);
        connection.send(&build(connection), left(deadline)).await.map(|reply| Answer::From(connection, reply))
    }

    /// Reads keys of a partition from its owner, perhaps together with others' reads.
    pub(crate) async fn read(
        self: &Arc<Self>,
        at: Partition,
        bound: Duration,
        want: impl Fn() -> Wanted,
    ) -> Result<Answer<'_, Findings>, CallError> {
        let Some(cluster) = &self.cluster else {
            let found = reads::read(self, 0, want(), bound).await?;
            return Ok(Answer::From(&self.first, found));
        };
        if cluster.is_moving(at) {
            return Ok(Answer::OnTheMove);
        }
        let deadline = Instant::now() + bound;
        let mut owner = cluster.route(at);
        for _ in 1..ATTEMPTS {
            let found = reads::read(self, owner, want(), left(deadline)).await;
            if let Some(answer) = self.settle(cluster, at, owner, found)? {
                return Ok(answer);
            }
            owner = cluster.route(at);
        }
        reads::read(self, owner, want(), left(deadline)).await.map(|found| Answer::From(self.nth(owner), found))
    }

    /// What an attempt came to; `None` if it is to be made again, elsewhere.
    fn settle<T>(
        &self,
        cluster: &Cluster,
        at: Partition,
        owner: usize,
        result: Result<T, CallError>,
    ) -> Result<Option<Answer<'_, T>>, CallError> {
        match result {
            Ok(reply) => Ok(Some(Answer::From(self.nth(owner), reply))),
            Err(CallError::OnTheMove(_)) => Ok(Some(Answer::OnTheMove)),
            Err(CallError::Moved(to)) => cluster.reroute(at, owner, &to).map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// Sends a command for each of these partitions, those for one server at once, and to all servers at the same time.
    /// The answers are in the same order. With an error, some commands may have taken effect.
    pub(crate) async fn send_each(
        &self,
        places: &[Partition],
        bound: Duration,
        build: impl Fn(usize, &Connection) -> Cmd,
    ) -> Result<Vec<Answer<'_>>, CallError> {
        let deadline = Instant::now() + bound;
        let mut answers: Vec<_> = places.iter().map(|_| Answer::OnTheMove).collect();
        let is_moving = |at| self.cluster.as_ref().is_some_and(|cluster| cluster.is_moving(at));
        let mut open: Vec<usize> = (0..places.len()).filter(|&number| !is_moving(places[number])).collect();
        let mut moved = String::new();
        for _ in 0..ATTEMPTS {
            let left = left(deadline);
            let sent = self.by_server(places, &open).into_iter().map(|(owner, numbers)| {
                let connection = self.nth(owner);
                let mut commands = Pipeline::with_capacity(numbers.len());
                for &number in &numbers {
                    commands.add_command(build(number, connection));
                }
                async move {
                    let replies = connection.send_all(&commands, left).await?;
                    Ok((owner, connection, numbers.into_iter().zip(replies).collect::<Vec<_>>()))
                }
            });
            let replies = all(join_all(sent).await)?;
            open.clear();
            for (owner, connection, replies) in replies {
                for (number, reply) in replies {
                    match checked(reply) {
                        Ok(reply) => answers[number] = Answer::From(connection, reply),
                        Err(CallError::OnTheMove(_)) => {}
                        Err(CallError::Moved(to)) => {
                            let cluster = self.cluster.as_ref().ok_or_else(|| CallError::Moved(to.clone()))?;
                            cluster.reroute(places[number], owner, &to)?;
                            open.push(number);
                            moved = to;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            if open.is_empty() {
                return Ok(answers);
            }
        }
        Err(CallError::Moved(moved))
    }

    /// The numbers of these commands, by the connection that they are for.
    fn by_server(&self, places: &[Partition], numbers: &[usize]) -> Vec<(usize, Vec<usize>)> {
        let Some(cluster) = &self.cluster else { return vec![(0, numbers.to_vec())] };
        let mut by_server: Vec<(usize, Vec<usize>)> = Vec::new();
        for &number in numbers {
            let index = cluster.route(places[number]);
            match by_server.iter_mut().find(|(known, _)| *known == index) {
                Some((_, numbers)) => numbers.push(number),
                None => by_server.push((index, vec![number])),
            }
        }
        by_server
    }
}

async fn prove(connection: &Connection, never: Option<String>, bound: Duration) -> Result<bool, CallError> {
    if let Some(never) = never {
        let mut write = redis::cmd("UNLINK");
        write.arg(never);
        connection.send(&write, bound).await?;
    }
    match connection.is_same_incarnation(bound).await {
        // The permission was taken away meanwhile.
        Err(CallError::Failed(_)) => Ok(true),
        result => result,
    }
}

/// All of them, or the error that says most about the servers.
fn all<T>(results: Vec<Result<T, CallError>>) -> Result<Vec<T>, CallError> {
    let mut good = Vec::with_capacity(results.len());
    let mut worst: Option<CallError> = None;
    for result in results {
        match result {
            Ok(result) => good.push(result),
            Err(error) if worst.as_ref().is_none_or(|worst| worst.gravity() < error.gravity()) => worst = Some(error),
            Err(_) => {}
        }
    }
    worst.map_or(Ok(good), Err)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
