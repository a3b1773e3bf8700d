//! Invalidating and holding: all keys and tokens in one round trip, globs by walking the keys.
//!
//! A glob is a `SCAN` over the whole database and an `UNLINK` of what it finds, leases included. A `SCAN` returns every
//! key that is there from its beginning to its end, and a fill changes no key's presence, so no load in flight is missed.
//! In a cluster every primary is walked at the same time. If keys may have moved between them meanwhile, so that a walk may
//! have missed one, everything in the namespace is invalidated instead.
//!
//! What is in force is then [announced](crate::feed) to those who keep values in their own memory. On a single server that
//! goes with the rest, in the same round trip; in a cluster it comes when all owners have acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, ToRedisArgs, Value};

use crate::{
    call_error::CallError,
    connection::{Connection, checked},
    error::UnexpectedReply,
    feed::{
        Feed,
        barrier::{Announced, Announcing, Told},
    },
    journal::Item,
    name::{Hits, Names},
    partition::Partition,
    script::{SCRIPTS, Script},
    session::{Answer, Session},
    store::millis,
};

/// How many keys one script call takes, so that it does not block the server for long.
const KEYS_PER_CALL: usize = 1_000;

/// How many keys one step of a walk looks at.
const SCAN_COUNT: usize = 1_000;

/// What invalidations go over.
#[derive(Clone, Copy)]
pub(crate) struct Over<'a> {
    pub(crate) session: &'a Session,
    pub(crate) names: &'a Names,
    pub(crate) feed: &'a Feed,
    /// How long each step may take.
    pub(crate) bound: Duration,
}

impl Over<'_> {
    /// Quarantines what stands at these keys, for `lasts` from now on, and announces it.
    pub(crate) async fn hold(
        &self,
        mut keys: Vec<(Partition, String)>,
        announcing: &Announcing<'_>,
        holder: [u8; 32],
        lasts: Duration,
    ) -> Result<Option<Told>, CallError> {
        let finish = |command: &mut Cmd| {
            command.arg(&holder).arg(millis(lasts));
        };
        let calls = Call::over(&SCRIPTS.hold, &mut keys, Partition::WHOLE);
        let places = calls.iter().map(|call| call.at).collect();
        let build = |number: usize| {
            let mut command = calls[number].command(self.names);
            finish(&mut command);
            command
        };
        let along = Some(announcing).filter(|_| self.session.is_one_server());
        let (answers, announced) = self.send_along(places, build, along).await?;
        for (call, _) in calls.iter().zip(answers).filter(|(_, answer)| matches!(answer, Answer::OnTheMove)) {
            self.each(call, finish).await?;
        }
        match announced {
            Some(announced) => self.settle(announcing.read(announced)).await,
            None => self.announce(announcing).await,
        }
    }

    /// Invalidates all targets, takes the holders off that are named, and announces it. `Ok` only when primaries have
    /// acknowledged all of it. Whom it was announced to may still serve what is invalid, until they have acknowledged too.
    pub(crate) async fn invalidate(
        &self,
        items: &[Item],
        announcing: &Announcing<'_>,
    ) -> Result<Option<Told>, CallError> {
        let mut hits = Hits::default();
        let mut released: BTreeMap<[u8; 32], Hits> = BTreeMap::new();
        for item in items {
            match item.holder {
                Some(holder) if item.target.can_be_held() => {
                    self.names.of_target(&item.target, released.entry(holder.0).or_default());
                }
                _ => self.names.of_target(&item.target, &mut hits),
            }
        }
        let mut calls = Vec::new();
        if !hits.keys.is_empty() || released.is_empty() {
            calls.extend(
                Call::over(&SCRIPTS.invalidate, &mut hits.keys, Partition::WHOLE).into_iter().map(|call| (call, None)),
            );
        }
        for (holder, hits) in &mut released {
            let over = Call::over(&SCRIPTS.unhold, &mut hits.keys, Partition::WHOLE);
            calls.extend(over.into_iter().map(|call| (call, Some(holder))));
        }
        // Whoever is told must find everything removed.
        let is_last = hits.globs.is_empty() && self.session.is_one_server();
        if let Some(announced) = self.remove(&calls, Some(announcing).filter(|_| is_last)).await? {
            return self.settle(announcing.read(announced)).await;
        }
        if !hits.globs.is_empty() {
            // The journal hands out its items in any order: sorted, the same trouble takes the same course twice.
            hits.globs.sort_unstable();
            self.sweep(&hits.globs).await?;
        }
        self.announce(announcing).await
    }

    /// Announces what is in force.
    pub(crate) async fn announce(&self, announcing: &Announcing<'_>) -> Result<Option<Told>, CallError> {
        let build = |connection: &Connection| announcing.command(connection.incarnation());
        let announced = match self.session.send(self.feed.names.at, self.bound, build).await? {
            Answer::From(_, answer) => announcing.read(answer),
            Answer::OnTheMove => Announced::Not("the registry is on its way to another server".to_owned()),
        };
        self.settle(announced).await
    }

    /// An announcement that could not be made goes by the registry, without which all members empty themselves.
    async fn settle(&self, announced: Announced) -> Result<Option<Told>, CallError> {
        let why = match announced {
            Announced::ToNobody => return Ok(None),
            Announced::To(told) => return Ok(Some(told)),
            Announced::Not(why) => why,
        };
        let names = &self.feed.names;
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(&names.members);
        let removed = match self.session.send(names.at, self.bound, |_| unlink.clone()).await? {
            Answer::From(_, removed) => removed,
            Answer::OnTheMove => self.session.follow(names.at, self.bound, &unlink).await?,
        };
        if removed == Value::Int(0) && !self.feed.has_seen_members() {
            return Ok(None);
        }
        self.feed.tell_failure(&why);
        self.feed.see_registry(false);
        Ok(Some(Told::unknown()))
    }

    /// Sends all calls, and in the same breath the announcement, if there is one: then returns what came of it.
    async fn remove(
        &self,
        calls: &[(Call<'_, String>, Option<&[u8; 32]>)],
        announcing: Option<&Announcing<'_>>,
    ) -> Result<Option<Value>, CallError> {
        let places = calls.iter().map(|(call, _)| call.at).collect();
        let build = |number: usize| {
            let (call, holder) = &calls[number];
            let mut command = call.command(self.names);
            if let Some(holder) = holder {
                command.arg(*holder);
            }
            command
        };
        let (answers, announced) = self.send_along(places, build, announcing).await?;
        let answers = calls.iter().zip(answers).filter(|(_, answer)| matches!(answer, Answer::OnTheMove));
        let moving: Vec<_> = answers.map(|(call, _)| call).collect();
        let killed: BTreeSet<_> = moving.iter().map(|(call, _)| call.at).collect();
        for at in killed {
            // More than was asked for.
            self.session.kill(self.names, at, self.bound).await?;
        }
        for (call, holder) in moving {
            let Some(holder) = holder else { continue };
            let finish = |command: &mut Cmd| {
                command.arg(*holder);
            };
            self.each(call, finish).await?;
        }
        Ok(announced)
    }

    /// Sends a command for each of these partitions and, behind them, the announcement if there is one.
    async fn send_along(
        &self,
        mut places: Vec<Partition>,
        build: impl Fn(usize) -> Cmd,
        announcing: Option<&Announcing<'_>>,
    ) -> Result<(Vec<Answer<'_>>, Option<Value>), CallError> {
        let count = places.len();
        places.extend(announcing.map(|_| self.feed.names.at));
        let build = |number: usize, connection: &Connection| match announcing {
            Some(announcing) if number == count => announcing.command(connection.incarnation()),
            _ => build(number),
        };
        let mut answers = self.session.send_each(&places, self.bound, build).await?;
        let announced = announcing.and_then(|_| answers.pop()).map(|answer| match answer {
            Answer::From(_, announced) => announced,
            Answer::OnTheMove => Value::Nil,
        });
        Ok((answers, announced))
    }

    /// Calls the script for each key by itself, where that is or would be.
    async fn each(&self, call: &Call<'_, String>, finish: impl Fn(&mut Cmd)) -> Result<(), CallError> {
        for (at, key) in call.keys {
            let mut command = call.script.call(2, 2 * key.len());
            // Instead of the key that never exists, which may be elsewhere.
            command.arg(key).arg(key);
            finish(&mut command);
            self.session.follow(*at, self.bound, &command).await?;
        }
        Ok(())
    }

    /// Removes what matches.
    async fn sweep(&self, patterns: &[String]) -> Result<(), CallError> {
        let before = self.session.standing(self.bound).await?;
        let is_complete = match before {
            None => false,
            Some(_) => self.walk_all(patterns).await? && self.session.standing(self.bound).await? == before,
        };
        if !is_complete {
            tracing::warn!(
                "keys move between servers of the cluster: everything is invalidated in the place of a pattern"
            );
            let mut roots = self.names.partitions().map(|at| (at, self.names.root(at))).collect::<Vec<_>>();
            let calls = Call::over(&SCRIPTS.invalidate, &mut roots, Partition::WHOLE);
            self.remove(&calls.into_iter().map(|call| (call, None)).collect::<Vec<_>>(), None).await?;
        }
        Ok(())
    }

    /// `false`: a key was found where its slot no longer is.
    async fn walk_all(&self, patterns: &[String]) -> Result<bool, CallError> {
        for pattern in patterns {
            let walks = self.session.owners().into_iter().map(|(connection, at)| self.walk(connection, at, pattern));
            for walked in join_all(walks).await {
                match walked {
                    Ok(()) => {}
                    Err(CallError::Moved(_) | CallError::OnTheMove(_)) => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(true)
    }

    /// Removes what matches on one server, which owns the partition `at`. Each step also removes what the step before has
    /// found; the last one only that.
    async fn walk(&self, connection: &Connection, at: Partition, pattern: &str) -> Result<(), CallError> {
        let mut cursor = 0;
        let mut found: Vec<(Partition, Vec<u8>)> = Vec::new();
        loop {
            let mut pipeline = Pipeline::new();
            if !found.is_empty() {
                self.add_removal(&mut pipeline, &mut found, at);
            }
            pipeline.cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
            let page = send(connection, &pipeline, self.bound).await?.pop();
            let (next, keys) = page
                .and_then(|page| redis::from_redis_value::<(u64, Vec<Vec<u8>>)>(page).ok())
                .ok_or_else(|| CallError::Failed(Box::new(UnexpectedReply)))?;
            cursor = next;
            let keys = keys.into_iter().filter(|key| !self.feed.names.has(key));
            found = keys.filter_map(|key| Some((self.names.partition_of(&key)?, key))).collect();
            if cursor == 0 {
                break;
            }
        }
        // Also with nothing found: the walk has only read, and a server that was demoted meanwhile still answers reads.
        let mut pipeline = Pipeline::new();
        self.add_removal(&mut pipeline, &mut found, at);
        send(connection, &pipeline, self.bound).await.map(drop)
    }

    fn add_removal(&self, pipeline: &mut Pipeline, found: &mut [(Partition, Vec<u8>)], at: Partition) {
        for call in Call::over(&SCRIPTS.invalidate, found, at) {
            pipeline.add_command(call.command(self.names));
        }
    }
}

/// A script over keys of one partition, which it does the same to. With it goes a key that never exists.
struct Call<'a, K> {
    script: &'static Script,
    at: Partition,
    keys: &'a [(Partition, K)],
}

impl<'a, K: ToRedisArgs> Call<'a, K> {
    /// The calls that take all of the keys, and at least one; without keys it is at `otherwise`.
    fn over(script: &'static Script, keys: &'a mut [(Partition, K)], otherwise: Partition) -> Vec<Self> {
        keys.sort_by_key(|(at, _)| *at);
        if keys.is_empty() {
            return vec![Self { script, at: otherwise, keys: &[] }];
        }
        let parts = keys.chunk_by(|(one, _), (next, _)| one == next).flat_map(|keys| keys.chunks(KEYS_PER_CALL));
        parts.map(|keys| Self { script, at: keys[0].0, keys }).collect()
    }

    /// The beginning of the command; the caller appends the arguments.
    fn command(&self, names: &Names) -> Cmd {
        let mut command = self.script.call(1 + self.keys.len(), 48 * self.keys.len());
        command.arg(names.never(self.at));
        for (_, key) in self.keys {
            command.arg(key);
        }
        command
    }
}

/// Sends commands of which none may fail.
async fn send(connection: &Connection, commands: &Pipeline, bound: Duration) -> Result<Vec<Value>, CallError> {
    connection.send_all(commands, bound).await?.into_iter().map(checked).collect()
}
