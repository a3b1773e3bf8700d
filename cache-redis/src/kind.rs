//! Which kind of server answered, and what to use where that is not the kind that the URL says.

use redis::{ConnectionInfo, RedisError};

use crate::{
    config::{Topology, is_tls, place},
    connection::field,
    error::ConnectError,
};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Single,
    ClusterNode,
    Sentinel,
}

impl Kind {
    /// Told by the server's `INFO server`; `None` where it does not tell.
    pub(crate) fn of_info(server: &str) -> Option<Self> {
        // Valkey has a name of its own for it.
        match field(server, "redis_mode").or_else(|| field(server, "server_mode"))? {
            "standalone" => Some(Self::Single),
            "cluster" => Some(Self::ClusterNode),
            "sentinel" => Some(Self::Sentinel),
            _ => None,
        }
    }

    /// Told by how it refuses a database, which comes before it can be asked.
    pub(crate) fn of_refusal(error: &RedisError) -> Option<Self> {
        let text = error.to_string().to_ascii_lowercase();
        if text.contains("select is not allowed in cluster mode") {
            return Some(Self::ClusterNode);
        }
        (text.contains("unknown command") && text.contains("select")).then_some(Self::Sentinel)
    }

    /// An error unless it is what a server of this topology has to be.
    pub(crate) fn check(self, topology: &Topology, server: &ConnectionInfo) -> Result<(), ConnectError> {
        let expected = if matches!(topology, Topology::Cluster { .. }) { Self::ClusterNode } else { Self::Single };
        if self == expected { Ok(()) } else { Err(self.instead_of(expected, server)) }
    }

    /// The error that this one answered where that one was expected.
    pub(crate) fn instead_of(self, expected: Self, server: &ConnectionInfo) -> ConnectError {
        let (found, [plain, tls]) = match self {
            Self::Single if expected == Self::ClusterNode => ("not in cluster mode", ["redis", "rediss"]),
            Self::Single => ("a server, not a sentinel", ["redis", "rediss"]),
            Self::ClusterNode => ("a node of a cluster", ["redis+cluster", "rediss+cluster"]),
            Self::Sentinel => ("a sentinel", ["redis+sentinel", "rediss+sentinel"]),
        };
        ConnectError::WrongKind { at: place(server), found, scheme: if is_tls(server) { tls } else { plain } }
    }
}
