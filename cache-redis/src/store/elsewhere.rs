//! Entries whose tokens are not all in the entry's own partition.
//!
//! A value carries the tokens of all partitions in its stamp, in two halves. A hit needs both: each token is read after
//! the read began, and no more is needed, since a token that was killed before is missing, or another one, whenever it is
//! looked at later. What is stored is checked against the entry's own partition only; a value that was stored after a
//! token elsewhere was killed carries the dead one and is never a hit.
//!
//! Before a lease is taken the tokens elsewhere are brought into being. The load begins after both, so a token that is
//! killed after it was looked at here, by an invalidation that the load may have missed, leaves the lease with a dead
//! stamp.

use std::{sync::Arc, time::Duration};

use cache_core::store::{Read, StoreError};
use futures_util::future::join_all;
use redis::{Cmd, Value};

use super::{
    FENCES, Of, RedisStore,
    judge::{any_held, judge, live_tokens},
    unexpected,
};
use crate::{
    connection::Connection,
    entry::{self, Half},
    name::Elsewhere,
    partition::Partition,
    reads::{Found, found},
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
    /// Reads an entry and its tokens from all that have some, at the same time.
    pub(super) async fn read_spread(
        &self,
        session: &Arc<Session>,
        of: Of<'_>,
        elsewhere: &[Elsewhere<'_>],
    ) -> Result<Read, StoreError> {
        let Of { home, key } = of;
        let own = self.link.read(session, home, || self.names.of_read(home, key));
        let others =
            elsewhere.iter().map(|part| self.link.read(session, part.at, || self.names.of_read_elsewhere(part)));
        let (own, others) = tokio::join!(own, join_all(others));
        let mut parts = Vec::with_capacity(1 + elsewhere.len());
        for answer in std::iter::once(own).chain(others) {
            match answer? {
                Answer::From(connection, found) => parts.push((connection.incarnation(), found)),
                Answer::OnTheMove => return Ok(Read::Held),
            }
        }
        let (incarnation, own) = parts.remove(0);
        if parts.iter().any(|(_, tokens): &(_, Vec<Found>)| any_held(tokens)) {
            return Ok(Read::Held);
        }
        let mut live = Vec::new();
        for (incarnation, tokens) in &parts {
            match live_tokens(tokens, incarnation) {
                Some(tokens) => live.extend(tokens),
                // Dead for this entry: still, its own place may be in quarantine.
                None => return Ok(without_hit(judge(&own, incarnation, None))),
            }
        }
        Ok(judge(&own, incarnation, Some(entry::half(live))))
    }

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
            let (mut tokens, mut foreign) = (Vec::new(), Vec::new());
            for (answer, at) in answers.into_iter().zip(&places) {
                match answer {
                    Answer::From(connection, Value::Array(tokens_there)) => {
                        let there: Vec<Found> = tokens_there.into_iter().map(found).collect();
                        tokens.push((connection.incarnation(), there));
                    }
                    Answer::From(_, Value::BulkString(answer)) if answer == b"F" => foreign.push(*at),
                    Answer::From(_, Value::BulkString(answer)) if answer == b"Q" => return Ok(Prepared::Held),
                    Answer::From(..) => return Err(unexpected()),
                    Answer::OnTheMove => return Ok(Prepared::Held),
                }
            }
            if foreign.is_empty() {
                let live: Option<Vec<_>> =
                    tokens.iter().map(|(incarnation, tokens)| live_tokens(tokens, incarnation)).collect();
                let live = live.ok_or_else(unexpected)?;
                return Ok(Prepared::Tokens(Some(entry::half(live.into_iter().flatten()))));
            }
            self.link.fence(session, &foreign).await?;
        }
        Err(StoreError::Unavailable)
    }

    /// Makes the tokens elsewhere live as long as what is stored under them. Where that fails it costs a miss.
    pub(super) async fn keep(&self, session: &Arc<Session>, elsewhere: &[Elsewhere<'_>], ttl: Duration) {
        let places: Vec<Partition> = elsewhere.iter().map(|part| part.at).collect();
        let build = |number: usize, _: &Connection| {
            let part = &elsewhere[number];
            let mut command = SCRIPTS.keep.call(part.tokens.len(), 64 * part.tokens.len());
            for token in &part.tokens {
                self.names.write_token(&mut command, part.at, *token);
            }
            command.arg(self.grown(ttl));
            command
        };
        drop(self.link.call_each(session, &places, build).await);
    }

    fn write_part(&self, command: &mut Cmd, part: &Elsewhere<'_>) {
        self.names.write_root(command, part.at);
        for token in &part.tokens {
            self.names.write_token(command, part.at, *token);
        }
    }
}

fn without_hit(read: Read) -> Read {
    match read {
        Read::Held => Read::Held,
        Read::Hit(_) | Read::Miss { .. } => Read::Miss { loading: None },
    }
}
