//! Reading an entry, or only whether a value that is known still holds.
//!
//! Both ask for the same tokens and judge by the same rules. The second asks for no more of the entry than says which value
//! it is, so that it costs as little for a large one. That is another command, and between the two an invalidation may come:
//! each token, and the entry, only has to be read after the read began.

use std::sync::Arc;

use cache_core::{
    Key,
    store::{Read, StoreError},
};
use futures_util::future::join_all;

use super::{
    Of, RedisStore,
    elsewhere::{Found, half},
    judge::{any_held, judge},
};
use crate::{
    name::Elsewhere,
    reads::Part,
    session::{Answer, Session},
};

impl RedisStore {
    /// Reads an entry; of its head only, the value's payload is empty.
    pub(crate) async fn read_part(&self, key: &Key, part: Part) -> Result<Read, StoreError> {
        let session = self.session()?;
        let home = self.names.home(key);
        let elsewhere = self.names.elsewhere(home, key);
        if !elsewhere.is_empty() {
            return self.read_spread(&session, Of { home, key }, part, &elsewhere).await;
        }
        match self.link.read(&session, home, || self.names.of_read(home, key, part)).await? {
            Answer::From(connection, found) => Ok(judge(&found, connection.incarnation(), None)),
            Answer::OnTheMove => Ok(Read::Held),
        }
    }

    /// Reads an entry and its tokens from all that have some, at the same time.
    async fn read_spread(
        &self,
        session: &Arc<Session>,
        of: Of<'_>,
        part: Part,
        elsewhere: &[Elsewhere<'_>],
    ) -> Result<Read, StoreError> {
        let Of { home, key } = of;
        let own = self.link.read(session, home, || self.names.of_read(home, key, part));
        let others =
            elsewhere.iter().map(|part| self.link.read(session, part.at, || self.names.of_read_elsewhere(part)));
        let (own, others) = tokio::join!(own, join_all(others));
        let mut parts = Vec::with_capacity(1 + elsewhere.len());
        for answer in std::iter::once(own).chain(others) {
            match answer? {
                Answer::From(connection, found) => parts.push(Found { connection, values: found }),
                Answer::OnTheMove => return Ok(Read::Held),
            }
        }
        let own = parts.remove(0);
        if parts.iter().any(|part| any_held(part.values.iter())) {
            return Ok(Read::Held);
        }
        Ok(match half(&parts) {
            Some(half) => judge(&own.values, own.connection.incarnation(), Some(half)),
            // Whatever the entry is under it is dead; its own place may still be in quarantine.
            None => match judge(&own.values, own.connection.incarnation(), None) {
                Read::Held => Read::Held,
                Read::Hit(_) | Read::Miss { .. } => Read::Miss { loading: None },
            },
        })
    }
}
