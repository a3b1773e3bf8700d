//! A cluster, and a namespace in it.

use std::sync::OnceLock;

use cache_redis::RedisStore;
use test_support::{ClusterOptions, ClusterServers, cli, unique};

use super::config;

/// A cluster of the test's own, and a namespace in it.
pub(crate) struct Clustered {
    pub(crate) cluster: ClusterServers,
    pub(crate) namespace: String,
}

/// A key, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) node: usize,
    pub(crate) name: String,
    pub(crate) slot: u16,
}

impl Clustered {
    /// Three primaries with this many replicas each.
    pub(crate) fn start(replicas: usize) -> Option<Self> {
        let cluster = ClusterServers::start(ClusterOptions { replicas, ..Default::default() })?;
        Some(Self { cluster, namespace: unique("test") })
    }

    /// An instance.
    pub(crate) async fn store(&self) -> RedisStore {
        RedisStore::connect(config(&self.cluster.url(), &self.namespace)).await.expect("the cluster is there")
    }

    /// The keys of this path, tokens and all that begins with it included if it ends in `*`; the root's path is `#root`.
    pub(crate) fn find(&self, path: &str) -> Vec<Spot> {
        let pattern = format!("{}:{{???}}{path}", self.namespace);
        let mut found = Vec::new();
        for (node, server) in self.cluster.nodes.iter().enumerate() {
            let is_primary = || server.cli(&["ROLE"]).contains("master");
            if !server.runs() || !is_primary() {
                continue;
            }
            for name in lines(&server.cli(&["KEYS", &pattern])) {
                found.push(Spot { node, slot: slot_of(&self.cluster, &name), name });
            }
        }
        found
    }

    /// The only key of this path.
    pub(crate) fn spot(&self, path: &str) -> Spot {
        let mut found = self.find(path);
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        found.remove(0)
    }

    /// The root beside a key.
    pub(crate) fn root_of(&self, spot: &Spot) -> String {
        format!("{}#root", tagged(&spot.name))
    }

    pub(crate) fn cli(&self, node: usize, arguments: &[&str]) -> String {
        cli(&self.cluster.nodes[node].url(), arguments)
    }

    /// Carries one key of a slot that is on its way.
    pub(crate) fn carry(&self, name: &str, from: usize, to: usize) {
        let port = self.cluster.nodes[to].port().to_string();
        assert_eq!(self.cli(from, &["MIGRATE", "127.0.0.1", &port, name, "0", "1000"]), "+OK", "{name}");
    }
}

/// A name up to and with its tag.
fn tagged(name: &str) -> &str {
    &name[..=name.find('}').expect("a name in a cluster has a tag")]
}

fn slot_of(cluster: &ClusterServers, name: &str) -> u16 {
    // Asked for once: there are no more than 256.
    static KNOWN: OnceLock<std::sync::Mutex<std::collections::HashMap<String, u16>>> = OnceLock::new();
    let tag = tagged(name).rsplit_once(':').expect("a name begins with its namespace").1.to_owned();
    let mut known = KNOWN.get_or_init(Default::default).lock().expect("no test panics here");
    *known.entry(tag).or_insert_with_key(|tag| cluster.slot_of(tag))
}

fn lines(reply: &str) -> Vec<String> {
    reply.split("\r\n").filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect()
}
