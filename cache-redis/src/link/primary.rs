//! Which server to join, and whether it still is the one.
//!
//! With sentinels it is their word that counts: a primary that was cut off from the others, or has not heard yet of its
//! successor, goes on to take writes, and nothing that it answers would tell.

use std::sync::{Arc, atomic::Ordering};

use redis::Value;
use tokio::time::Instant;

use super::{BEAT, Last, Link, jittered};
use crate::{
    call_error::CallError,
    config::{OnFailover, Topology},
    error::ConnectError,
    partition::Partition,
    script::SCRIPTS,
    sentinel::Sentinels,
    session::Session,
};

impl Link {
    /// Opens a connection to the primary, or to all of a cluster. What finding it takes is a part of the time.
    pub(super) async fn open(&self) -> Result<Session, ConnectError> {
        let until = Instant::now() + self.connect_timeout;
        match (&self.sentinels, &self.address.topology) {
            (Some(sentinels), _) => {
                let server = sentinels.primary(self.connect_timeout / 2).await?;
                Session::open(&self.address, &server, until - Instant::now()).await
            }
            (None, Topology::Cluster { seeds }) => {
                Session::open_cluster(&self.address, seeds, &self.seen, self.connect_timeout).await
            }
            (None, Topology::Single(server) | Topology::Sentinel { server, .. }) => {
                Session::open(&self.address, server, self.connect_timeout).await
            }
        }
    }

    /// Goes on while the session's server is the primary by the word of the sentinels. That none of them answers says
    /// nothing about it.
    pub(super) async fn watch(&self, session: &Arc<Session>) {
        let Some(sentinels) = &self.sentinels else { return std::future::pending().await };
        loop {
            tokio::select! {
                () = sentinels.switched() => {}
                () = tokio::time::sleep(jittered(BEAT)) => {}
            }
            if let Some(successor) = sentinels.successor(session.at(), BEAT).await {
                self.leave(session, &CallError::Deposed(successor));
                return;
            }
            // Where Redis evicts what is not in use, this is. What it answers does not matter.
            let server = session.connection(Partition::WHOLE);
            drop(server.send(redis::cmd("GET").arg(self.names.reign()), self.call_timeout).await);
        }
    }

    /// An error if the sentinels, asked from now on, name another primary. Then the session is given up.
    pub(super) async fn vouch(&self, session: &Arc<Session>) -> Result<(), CallError> {
        let Some(sentinels) = &self.sentinels else { return Ok(()) };
        let Some(successor) = sentinels.confirm(session.at(), self.call_timeout).await else { return Ok(()) };
        let error = CallError::Deposed(successor);
        self.leave(session, &error);
        Err(error)
    }

    /// The connection was good, and there is another server to go to: that is no flapping.
    fn leave(&self, session: &Arc<Session>, why: &CallError) {
        self.drop_session(session, &mut self.gate(), why);
        self.flaps.store(0, Ordering::Relaxed);
    }

    /// Makes the namespace cold, and tells so, if another server was the primary since its data were good, which the
    /// incarnation does not tell: that of a server changes when it becomes a replica, and it may have come back to power before.
    pub(super) async fn note_reign(&self, session: &Session, last: Option<Last>) -> Result<bool, CallError> {
        let Some(reign) = self.sentinels.as_ref().and_then(Sentinels::reign) else { return Ok(false) };
        let server = session.connection(Partition::WHOLE);
        let is_trusted =
            self.address.on_failover == OnFailover::Trust && last.is_some_and(|last| server.was_up_at(last.alive));
        let mut command = SCRIPTS.reign.call(2, 128);
        self.names.write_root(&mut command, Partition::WHOLE);
        command.arg(self.names.reign()).arg(reign).arg(i32::from(!is_trusted));
        let is_new = server.send(&command, self.connect_timeout).await? == Value::Int(1);
        if is_new && !is_trusted {
            tracing::warn!(
                at = session.at(),
                reign,
                "Redis failed over: everything in the namespace counts as invalidated"
            );
        }
        Ok(is_new && !is_trusted)
    }
}
