//! Which server to join, and whether it still is the one.
//!
//! With sentinels it is their word that counts: a primary that was cut off from the others, or has not heard yet of its
//! successor, goes on to take writes, and nothing that it answers would tell.

use std::sync::Arc;

use tokio::time::Instant;

use super::{BEAT, Link, jittered};
use crate::{config::Topology, error::ConnectError, session::Session};

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
                let why = format_args!("the sentinels name another primary, {successor}");
                return self.drop_session(session, &mut self.gate(), &why);
            }
        }
    }
}
