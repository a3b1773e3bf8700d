//! The servers of each topology, by their numbers.

use test_support::{
    ClusterOptions, ClusterServers, Options as ServerOptions, RedisServer, SentinelGroup, SentinelOptions,
};

use crate::{Options, Topology, reaper::Reaper, watch::Watch};

/// What Redis consists of.
pub(crate) enum Servers {
    /// The primary, and a replica that only ever takes its place by hand.
    Single(Vec<RedisServer>),
    Sentinel(SentinelGroup),
    Cluster(ClusterServers),
}

impl Servers {
    /// Starts them. `None` where there is no server to start.
    pub(crate) fn start(options: &Options, reaper: &mut Reaper) -> Option<Self> {
        let servers = match options.topology {
            Topology::Single => {
                let primary = single()?;
                let replica = replica_of(&primary)?;
                Self::Single(vec![primary, replica])
            }
            Topology::Sentinel => {
                let unhurried = options.unhurried;
                let options = SentinelOptions { replicas: 2, unhurried, ..SentinelOptions::default() };
                Self::Sentinel(SentinelGroup::start(options)?)
            }
            Topology::Cluster => Self::Cluster(ClusterServers::start(ClusterOptions::default())?),
        };
        servers.all().iter().chain(servers.sentinels()).for_each(|server| watch(server, reaper));
        Some(servers)
    }

    /// Who knows more than a single server's supervisor does.
    pub(crate) fn watch(&self) -> Option<Watch> {
        match self {
            Self::Single(_) => None,
            Self::Sentinel(group) => Some(Watch::group(&group.servers, &group.sentinels, group.service())),
            Self::Cluster(cluster) => Some(Watch::cluster(&cluster.nodes)),
        }
    }

    /// Where the store finds them; a single one is behind proxies.
    pub(crate) fn url(&self) -> Option<String> {
        match self {
            Self::Single(_) => None,
            Self::Sentinel(group) => Some(group.url()),
            Self::Cluster(cluster) => Some(cluster.url()),
        }
    }

    /// What they say of themselves and of each other, for people to read.
    pub(crate) fn say(&self) -> String {
        let ask: &[_] = if let Self::Cluster(_) = self { &["CLUSTER", "NODES"] } else { &["INFO", "replication"] };
        let running = self.all().iter().filter(|server| server.runs());
        let said = running.map(|server| format!("{}:\n{}\n", server.port(), server.try_cli(ask).unwrap_or_default()));
        let named = self.sentinels().iter().filter(|sentinel| sentinel.runs());
        let named = named.map(|sentinel| sentinel.try_cli(&["INFO", "sentinel"]).unwrap_or_default());
        said.chain(named).collect()
    }

    pub(crate) fn all(&self) -> &[RedisServer] {
        match self {
            Self::Single(servers) => servers,
            Self::Sentinel(group) => &group.servers,
            Self::Cluster(cluster) => &cluster.nodes,
        }
    }

    pub(crate) fn all_mut(&mut self) -> &mut [RedisServer] {
        match self {
            Self::Single(servers) => servers,
            Self::Sentinel(group) => &mut group.servers,
            Self::Cluster(cluster) => &mut cluster.nodes,
        }
    }

    pub(crate) fn sentinels(&self) -> &[RedisServer] {
        match self {
            Self::Sentinel(group) => &group.sentinels,
            _ => &[],
        }
    }

    pub(crate) fn sentinels_mut(&mut self) -> &mut [RedisServer] {
        match self {
            Self::Sentinel(group) => &mut group.sentinels,
            _ => &mut [],
        }
    }
}

/// Has it ended with the supervisor.
pub(crate) fn watch(server: &RedisServer, reaper: &mut Reaper) {
    reaper.watch(server.pid().expect("it runs"));
    reaper.remove(server.folder().expect("it is a process"));
}

/// A replica of a single server.
pub(crate) fn replica_of(primary: &RedisServer) -> Option<RedisServer> {
    let replica = single()?;
    // Not by an argument: it is no replica any more when it starts again after its promotion.
    replica.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    Some(replica)
}

fn single() -> Option<RedisServer> {
    let arguments = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"].map(Into::into).into();
    RedisServer::own_with(ServerOptions { arguments, ..ServerOptions::default() })
}
