//! Entries whose tokens are not all in the entry's own partition.
//!
//! A value carries the tokens of all partitions in its stamp, in two halves. A hit needs both: each token is read after
//! the read began, and no more is needed, since a token that was killed before is missing, or another one, whenever it is
//! looked at later.
//!
//! Before a lease is taken the tokens elsewhere are brought into being, and the load begins after both. They are looked at
//! again before the fill, which itself checks those beside the entry only: a token that is killed in between leaves a value
//! that carries a dead one and is never a hit.

use std::{sync::Arc, time::Duration};

use cache_core::store::{Lease, StoreError};
use redis::{Cmd, Value};

use super::{FENCES, Of, RedisStore, judge::live_tokens, unexpected};
use crate::{
    connection::Connection,
    entry::{self, Half},
    name::Elsewhere,
    partition::Partition,
    reads::{Findings, found},
    script::SCRIPTS,
    session::{Answer, Session},
};

/// What became of the tokens elsewhere.
pub(super) enum Prepared {
    /// They are there. `None` where the entry has none.
    Tokens(Option<Half>),
    /// One is in quarantine.
    Held,
}

impl RedisStore {
    /// Brings the tokens into being that the entry has in other partitions.
    pub(super) async fn prepare(&self, session: &Arc<Session>, of: Of<'_>) -> Result<Prepared, StoreError> {
        let elsewhere = self.names.elsewhere(of.home, of.key);
        if elsewhere.is_empty() {
            return Ok(Prepared::Tokens(None));
        }
        let places: Vec<Partition> = elsewhere.iter().map(|part| part.at).collect();
        let build = |number: usize, connection: &Connection| {
            let part = &elsewhere[number];
            let mut command = SCRIPTS.prepare.call(1 + part.tokens.len(), self.names.size(of.key));
            self.write_part(&mut command, part);
            command.arg(connection.incarnation()).arg(self.nonces.next()).arg(self.young());
            command
        };
        for _ in 0..FENCES {
            let answers = self.tell_refusal(self.link.call_each(session, &places, build).await)?;
            let (mut parts, mut foreign) = (Vec::with_capacity(places.len()), Vec::new());
            for (answer, at) in answers.into_iter().zip(&places) {
                match answer {
                    Answer::From(connection, Value::Array(values)) => parts.push(Found::new(connection, values)),
                    Answer::From(_, Value::BulkString(answer)) if answer == b"F" => foreign.push(*at),
                    Answer::From(_, Value::BulkString(answer)) if answer == b"Q" => return Ok(Prepared::Held),
                    Answer::From(..) => return Err(unexpected()),
                    Answer::OnTheMove => return Ok(Prepared::Held),
                }
            }
            if foreign.is_empty() {
                return half(&parts).map(|half| Prepared::Tokens(Some(half))).ok_or_else(unexpected);
            }
            self.link.fence(session, &foreign).await?;
        }
        Err(StoreError::Unavailable)
    }

    /// Whether the tokens elsewhere are still those that the lease was taken under. They live then as long as what is
    /// about to be stored.
    pub(super) async fn confirm(
        &self,
        session: &Arc<Session>,
        of: Of<'_>,
        lease: &Lease,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let elsewhere = self.names.elsewhere(of.home, of.key);
        if elsewhere.is_empty() {
            return Ok(true);
        }
        let places: Vec<Partition> = elsewhere.iter().map(|part| part.at).collect();
        let build = |number: usize, _: &Connection| {
            let part = &elsewhere[number];
            let mut command = SCRIPTS.confirm.call(1 + part.tokens.len(), self.names.size(of.key));
            self.write_part(&mut command, part);
            command.arg(self.grown(ttl));
            command
        };
        let mut parts = Vec::with_capacity(places.len());
        for answer in self.link.call_each(session, &places, build).await? {
            match answer {
                Answer::From(connection, Value::Array(values)) => parts.push(Found::new(connection, values)),
                Answer::From(..) => return Err(unexpected()),
                Answer::OnTheMove => return Ok(false),
            }
        }
        Ok(half(&parts).is_some_and(|half| half == lease.stamp[16..]))
    }

    fn write_part(&self, command: &mut Cmd, part: &Elsewhere<'_>) {
        self.names.write_root(command, part.at);
        for token in &part.tokens {
            self.names.write_token(command, part.at, *token);
        }
    }
}

/// What was found in one partition, and where.
pub(super) struct Found<'a> {
    pub(super) connection: &'a Connection,
    pub(super) values: Findings,
}

impl<'a> Found<'a> {
    fn new(connection: &'a Connection, values: Vec<Value>) -> Self {
        Self { connection, values: Findings::alone(values.into_iter().map(found).collect()) }
    }
}

/// What stands in a stamp for the tokens that were found, if all are there and each root is of the server that has it.
pub(super) fn half(parts: &[Found<'_>]) -> Option<Half> {
    let live: Option<Vec<_>> =
        parts.iter().map(|part| live_tokens(part.values.iter(), part.connection.incarnation())).collect();
    Some(entry::half(live?.into_iter().flatten()))
}
