//! Opening a session.
//!
//! In a cluster any node that answers tells which primaries there are: one of the address, or one that was seen before.
//! All of them are opened at once, also those that own nothing yet, so that a slot may move there. Who owns what is what
//! each says of itself. Unless there is an owner for every partition, of which nobody has heard that it was replaced, the
//! session is not opened.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    future::try_join_all,
    stream::{FuturesUnordered, StreamExt as _},
};
use redis::{Cmd, ConnectionInfo, Pipeline, RedisError, Value};
use tokio::{sync::Notify, time::timeout};

use super::{
    Session,
    cluster::Cluster,
    map::{Map, Primary, Spot, View},
};
use crate::{
    call_error::CallError,
    config::{Address, elsewhere, place},
    connection::{Connection, called, closing, field, greet, options},
    error::{ConnectError, NoAnswer},
    partition::Partition,
};

/// Nodes are asked one after the other, and the next one when the last has had this long.
const STAGGER: Duration = Duration::from_millis(20);

/// How many nodes are asked for the map.
const ASKED: usize = 16;

/// How long a primary that owns nothing is waited for.
const SPARE: Duration = Duration::from_millis(250);

/// Nodes of a cluster that were there once, to be asked when those of the address are not.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Vec<Spot>>);

impl Seen {
    fn remember(&self, map: &Map) {
        let primaries = map.primaries.iter().map(|primary| primary.spot.clone());
        let nodes = primaries.chain(map.replicas.iter().cloned()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    fn spots(&self) -> Vec<Spot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Session {
    /// Connects to this server.
    pub(crate) async fn open(
        address: &Address,
        server: &ConnectionInfo,
        bound: Duration,
    ) -> Result<Self, ConnectError> {
        let closed = Arc::new(Notify::new());
        let opening = within(bound, || called(address, server), Connection::open(address, server, closing(&closed)));
        opening.await.map(|connection| Self::new(connection, None, closed))
    }

    /// Connects to all primaries of the cluster that these nodes, or those that were seen before, belong to.
    pub(crate) async fn open_cluster(
        address: &Address,
        seeds: &[ConnectionInfo],
        seen: &Seen,
        bound: Duration,
    ) -> Result<Self, ConnectError> {
        within(bound, || address.at.clone(), Self::open_all(address, seeds, seen)).await
    }

    async fn open_all(address: &Address, seeds: &[ConnectionInfo], seen: &Seen) -> Result<Self, ConnectError> {
        let closed = Arc::new(Notify::new());
        let map = find(address, seeds, &seen.spots()).await?;
        seen.remember(&map);
        let opening = map.primaries.into_iter().map(|primary| open_primary(address, &seeds[0], primary, &closed));
        let opened: Vec<_> = try_join_all(opening).await?.into_iter().flatten().collect();
        let owner = |at: Partition| {
            let owners = opened.iter().enumerate().filter(|(_, primary)| primary.view.own.owns(at.slot()));
            // Two that claim it: the later claim holds, and the other one has not heard of it yet.
            owners.max_by_key(|(_, primary)| primary.view.own.epoch).map(|(index, _)| index)
        };
        let owners: Option<Vec<usize>> = Partition::all().map(owner).collect();
        let Some(owners) = owners else {
            return Err(ConnectError::unreachable(&address.at, "not every slot of the cluster has an owner"));
        };
        let (mut names, mut connections, mut views) = (Vec::new(), Vec::new(), Vec::new());
        for primary in opened {
            names.push(primary.names);
            connections.push(primary.connection);
            views.push(primary.view);
        }
        // There are some, as they own something.
        let others = connections.split_off(1);
        let cluster = Cluster::new(address.at.clone(), others, names, |at| owners[at.index()]);
        if let Some(successor) = cluster.successor(&views) {
            let why = format!("{successor} has taken slots over, of which their owner has not heard");
            return Err(ConnectError::unreachable(&address.at, why));
        }
        cluster.note_moves(&views);
        Ok(Self::new(connections.remove(0), Some(Box::new(cluster)), closed))
    }
}

async fn within<T>(
    bound: Duration,
    at: impl FnOnce() -> String,
    opening: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    timeout(bound, opening).await.unwrap_or_else(|_| Err(ConnectError::unreachable(&at(), NoAnswer(bound))))
}

struct Opened {
    names: Vec<Spot>,
    connection: Connection,
    view: View,
}

/// `None` for one that owns nothing and does not answer.
async fn open_primary(
    address: &Address,
    seed: &ConnectionInfo,
    primary: Primary,
    closed: &Arc<Notify>,
) -> Result<Option<Opened>, ConnectError> {
    let server = elsewhere(seed, &primary.spot.host, primary.spot.port);
    let opening = async {
        let connection = Connection::open(address, &server, closing(closed)).await?;
        let unusable = |error: CallError| ConnectError::unreachable(&place(&server), error.to_string());
        // Bounded with the opening as a whole.
        let view = connection.view(Duration::MAX).await.map_err(unusable)?;
        Ok(Opened { names: primary.names, connection, view })
    };
    if primary.owns_slots {
        return opening.await.map(Some);
    }
    Ok(timeout(SPARE, opening).await.ok().and_then(Result::ok))
}

impl Connection {
    /// What the node says of itself and of the others.
    pub(super) async fn view(&self, bound: Duration) -> Result<View, CallError> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("NODES");
        let reply = self.send(&command, bound).await?;
        let nodes: String = redis::from_redis_value(reply).map_err(RedisError::from)?;
        View::read(&nodes).ok_or_else(|| CallError::Failed("a node of a cluster says nothing of itself".into()))
    }
}

/// The map of the first node that answers and for which all is well. Any may be down, or cut off from the others.
async fn find(address: &Address, seeds: &[ConnectionInfo], seen: &[Spot]) -> Result<Map, ConnectError> {
    let mut nodes: Vec<ConnectionInfo> = seeds.to_vec();
    for spot in seen {
        let node = elsewhere(&seeds[0], &spot.host, spot.port);
        if nodes.iter().all(|known| known.addr() != node.addr()) {
            nodes.push(node);
        }
    }
    // From another one each time, so that one that is wrong does not stand in the way for ever.
    let first = fastrand::usize(..nodes.len());
    nodes.rotate_left(first);
    let mut asked: FuturesUnordered<_> = nodes
        .into_iter()
        .take(ASKED)
        .zip(0_u32..)
        .map(|(node, number)| async move {
            tokio::time::sleep(STAGGER * number).await;
            ask(address, &node).await
        })
        .collect();
    let mut told = ConnectError::unreachable(&address.at, "no node answered");
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(map) => return Ok(map),
            // What is not going to pass by itself is worth more than what may.
            Err(error) if told.is_temporary() => told = error,
            Err(_) => {}
        }
    }
    Err(told)
}

async fn ask(address: &Address, node: &ConnectionInfo) -> Result<Map, ConnectError> {
    let at = &place(node);
    let refused = |error: RedisError| ConnectError::of_opening(at, address.database, error);
    let (mut connection, _) = greet(address, node, options(address, None)).await?;
    let mut questions = Pipeline::new();
    for question in ["INFO", "SLOTS", "NODES"] {
        questions.add_command(cluster(question));
    }
    let (info, slots, nodes): (String, Value, String) =
        questions.query_async(&mut connection).await.map_err(refused)?;
    if field(&info, "cluster_state") != Some("ok") {
        return Err(ConnectError::unreachable(at, "the cluster is down, or this node is cut off from it"));
    }
    let host = match node.addr() {
        redis::ConnectionAddr::Tcp(host, _) | redis::ConnectionAddr::TcpTls { host, .. } => host,
        _ => "",
    };
    Ok(Map::read(&slots, &nodes, host))
}

fn cluster(question: &str) -> Cmd {
    let mut command = redis::cmd("CLUSTER");
    command.arg(question);
    command
}
