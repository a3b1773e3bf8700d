//! A Redis Cluster: primaries that share the slots, and a replica for each.

mod migration;
mod view;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

pub use migration::Migration;
use view::View;

use crate::{
    cli::strings,
    process::free_port,
    redis::{Options, RedisServer},
    wait::wait_for,
};

/// How many slots there are.
const SLOTS: u16 = 16_384;
/// After this time nodes have given a commanded failover up.
const GIVEN_UP: Duration = Duration::from_secs(6);

/// What kind of cluster to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many primaries. Fewer than three cannot fail over by themselves.
    pub primaries: usize,
    /// How many replicas each primary has.
    pub replicas: usize,
    /// After this many milliseconds without an answer a node counts as down.
    pub node_timeout_ms: u64,
    /// The password of all nodes.
    pub password: Option<String>,
    /// More arguments of the nodes' command lines.
    pub arguments: Vec<String>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { primaries: 3, replicas: 1, node_timeout_ms: 1_000, password: None, arguments: Vec::new() }
    }
}

/// How a replica takes its primary's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// The primary waits until the replica has everything.
    Agreed,
    /// Whatever the primary says; the other primaries vote.
    Forced,
    /// Nobody is asked.
    Takeover,
}

/// A Redis Cluster of processes that end when this is dropped.
///
/// Replicas stay with their primaries' slots; none moves to a primary that has lost its own.
#[derive(Debug)]
pub struct ClusterServers {
    /// The nodes; in the beginning first the primaries, by their slots, then their replicas in the same order. To be killed, stopped,
    /// continued and restarted at will: they remember their places in the cluster, and not what they held.
    pub nodes: Vec<RedisServer>,
    ids: Vec<String>,
    options: ClusterOptions,
}

impl ClusterServers {
    /// A cluster in which all is well. `None`, with a line on the terminal, where there is no server to start: return then.
    pub fn start(options: ClusterOptions) -> Option<Self> {
        let mut cluster = Self { nodes: Vec::new(), ids: Vec::new(), options };
        let primaries = cluster.options.primaries;
        let count = primaries * (1 + cluster.options.replicas);
        for index in 0..count {
            cluster.start_node()?;
            // Two nodes with the same epoch would argue first.
            cluster.must(index, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for index in 0..primaries {
            let bound = |part: usize| usize::from(SLOTS) * part / primaries;
            let (from, to) = (bound(index).to_string(), (bound(index + 1) - 1).to_string());
            cluster.must(index, &["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
        }
        (1..count).for_each(|index| cluster.meet(index));
        cluster.wait_until_known();
        for index in primaries..count {
            cluster.must(index, &["CLUSTER", "REPLICATE", &cluster.ids[index % primaries]]);
        }
        cluster.settle();
        Some(cluster)
    }

    /// How the store finds the cluster: its nodes.
    pub fn url(&self) -> String {
        let user = self.options.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{user}{}", hosts.join(","))
    }

    /// The slot of a key.
    pub fn slot_of(&self, key: &str) -> u16 {
        let node = self.nodes.iter().find(|node| node.runs()).expect("a node runs");
        let slot = node.cli(&["CLUSTER", "KEYSLOT", key]);
        slot.trim_start_matches(':').parse().expect("a slot is a number")
    }

    /// The node that owns a slot, as far as nodes that run know: the one that claimed it last. It may be down.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        owner(&self.views(), slot).and_then(|id| self.index(id))
    }

    /// The nodes that own slots, as [`owner`](ClusterServers::owner) finds them.
    pub fn primaries(&self) -> Vec<usize> {
        let views = self.views();
        let owners: BTreeSet<_> = (0..SLOTS).filter_map(|slot| owner(&views, slot)).collect();
        (0..self.nodes.len()).filter(|&index| owners.contains(self.ids[index].as_str())).collect()
    }

    /// The nodes that call themselves replicas of this one, and run.
    pub fn replicas_of(&self, primary: usize) -> Vec<usize> {
        let running = (0..self.nodes.len()).filter(|&index| self.nodes[index].runs());
        running.filter(|&index| self.view(index).is_some_and(|view| view.me().primary == self.ids[primary])).collect()
    }

    /// Lets a replica take its primary's place, and waits until it owns slots and takes writes.
    ///
    /// Nodes give a failover up after 5 s and say nothing: when too few of them voted for the replica, or it fell behind. So the
    /// command is repeated.
    pub fn promote(&self, replica: usize, how: Promotion) {
        self.try_promote(replica, how).expect("the replica may be promoted");
        let mut asked = Instant::now();
        wait_for("a node to become a primary", || {
            let view = self.view(replica)?;
            if view.is_ok && view.me().is_primary && !view.me().slots.is_empty() {
                return Some(());
            }
            if asked.elapsed() > GIVEN_UP && !view.me().is_primary {
                self.try_promote(replica, how).ok();
                asked = Instant::now();
            }
            None
        });
    }

    /// Begins what [`promote`](ClusterServers::promote) does, where the replica may refuse. It takes some time, and may fail.
    ///
    /// # Errors
    ///
    /// What it says.
    pub fn try_promote(&self, replica: usize, how: Promotion) -> Result<(), String> {
        let how = match how {
            Promotion::Agreed => &[][..],
            Promotion::Forced => &["FORCE"],
            Promotion::Takeover => &["TAKEOVER"],
        };
        let reply = self.ask(replica, &[&["CLUSTER", "FAILOVER"], how].concat())?;
        if reply == "+OK" { Ok(()) } else { Err(reply) }
    }

    /// Waits until a slot belongs to another node than this one, which takes writes, and returns it.
    pub fn wait_for_failover(&self, slot: u16, from: usize) -> usize {
        wait_for("a failover", || {
            let owner = self.owner(slot).filter(|&owner| owner != from)?;
            let view = self.view(owner)?;
            (view.is_ok && view.me().owns(slot)).then_some(owner)
        })
    }

    /// Waits until all is well: all nodes that run know each other and agree on who owns what, all slots are served, and each replica
    /// has what its primary has.
    pub fn settle(&self) {
        wait_for("the cluster to settle", || {
            let running = self.nodes.iter().filter(|node| node.runs()).count();
            let views = self.views();
            let agreed = views.iter().all(|view| view.is_ok && view.agrees_with(&views[0]));
            let known = |view: &View| view.nodes.iter().filter(|node| node.is_well).count() >= running;
            let attached = |(view, node): (&View, &RedisServer)| {
                let info = || node.try_cli(&["INFO", "replication"]).unwrap_or_default();
                view.me().is_primary || info().contains("master_link_status:up")
            };
            let nodes = self.nodes.iter().filter(|node| node.runs());
            let settled = views.len() == running && agreed && views.iter().all(known);
            (settled && views.iter().zip(nodes).all(attached)).then_some(())
        });
    }

    /// Starts a further primary, which owns nothing yet, and returns it.
    pub fn add_primary(&mut self) -> usize {
        self.start_node().expect("there was a server to start");
        let index = self.nodes.len() - 1;
        self.meet(index);
        self.settle();
        index
    }

    fn start_node(&mut self) -> Option<()> {
        let mut arguments: Vec<String> = [
            ["--cluster-enabled", "yes"],
            ["--cluster-port", &free_port().to_string()],
            ["--cluster-node-timeout", &self.options.node_timeout_ms.to_string()],
            ["--cluster-allow-replica-migration", "no"],
            ["--repl-diskless-sync-delay", "0"],
            ["--repl-ping-replica-period", "1"],
        ]
        .concat()
        .into_iter()
        .map(Into::into)
        .collect();
        if let Some(password) = &self.options.password {
            arguments.extend(["--masterauth", password].map(Into::into));
        }
        arguments.extend(self.options.arguments.iter().cloned());
        let password = self.options.password.clone();
        let node = RedisServer::own_with(Options { password, arguments, ..Options::default() })?;
        self.ids.push(node.cli(&["CLUSTER", "MYID"]));
        self.nodes.push(node);
        Some(())
    }

    /// Introduces a node to all before it that run.
    fn meet(&self, index: usize) {
        let bus = |node: &RedisServer| {
            let setting = node.cli(&["CONFIG", "GET", "cluster-port"]);
            strings(&setting)[1].to_owned()
        };
        for other in self.nodes[..index].iter().filter(|other| other.runs()) {
            self.must(index, &["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), &bus(other)]);
        }
    }

    fn wait_until_known(&self) {
        wait_for("the nodes to meet", || {
            let views = self.views();
            let known = |view: &View| view.nodes.iter().filter(|node| node.is_well).count() == self.nodes.len();
            (views.len() == self.nodes.len() && views.iter().all(known)).then_some(())
        });
    }

    /// What the nodes that run say.
    fn views(&self) -> Vec<View> {
        (0..self.nodes.len()).filter_map(|index| self.view(index)).collect()
    }

    fn view(&self, index: usize) -> Option<View> {
        let node = self.nodes.get(index).filter(|node| node.runs())?;
        let info = node.try_cli(&["CLUSTER", "INFO"]).ok()?;
        View::read(&info, &node.try_cli(&["CLUSTER", "NODES"]).ok()?)
    }

    fn index(&self, id: &str) -> Option<usize> {
        self.ids.iter().position(|known| known == id)
    }

    fn ask(&self, node: usize, command: &[&str]) -> Result<String, String> {
        if !self.nodes[node].runs() {
            return Err(format!("node {node} does not run"));
        }
        self.nodes[node].try_cli(command).map_err(|error| format!("node {node}: {error}"))
    }

    fn must(&self, index: usize, command: &[&str]) {
        let reply = self.nodes[index].cli(command);
        assert_eq!(reply, "+OK", "{command:?}");
    }
}

/// The id of the slot's owner. Who claims it for itself knows best: what the others have heard may be of before its last move.
fn owner(views: &[View], slot: u16) -> Option<&str> {
    let own = views.iter().map(View::me).filter(|node| node.owns(slot)).max_by_key(|node| node.epoch);
    let heard =
        || views.iter().flat_map(|view| &view.nodes).filter(|node| node.owns(slot)).max_by_key(|node| node.epoch);
    Some(&own.or_else(heard)?.id)
}
