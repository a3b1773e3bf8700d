//! A cluster, and a namespace in it.

use std::{sync::OnceLock, time::Duration};

use cache_redis::{RedisConfig, RedisStore};
use test_support::{ClusterOptions, ClusterServers, Migration, cli, unique};

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

    /// An instance that a machine as busy as one with many servers does not disturb.
    pub(crate) async fn store(&self) -> RedisStore {
        let config = self.config().call_timeout(Duration::from_secs(3)).connect_timeout(Duration::from_secs(10));
        RedisStore::connect(config).await.expect("the cluster is there")
    }

    pub(crate) fn config(&self) -> RedisConfig {
        config(&self.cluster.url(), &self.namespace)
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

    /// Whether a node has this key, as a replica too.
    pub(crate) fn has(&self, node: usize, spot: &Spot) -> bool {
        lines(&self.cli(node, &["CLUSTER", "GETKEYSINSLOT", &spot.slot.to_string(), "1000"])).contains(&spot.name)
    }

    pub(crate) fn cli(&self, node: usize, arguments: &[&str]) -> String {
        cli(&self.cluster.nodes[node].url(), arguments)
    }

    /// Gives a move up: the old owner forgets of it, takes back what had gone, and then the other one forgets of it too.
    pub(crate) fn abandon(&self, migration: Migration) {
        self.forget(migration, migration.from);
        self.carry_back(migration);
        self.forget(migration, migration.to);
    }

    /// Ends a move. Where both sides have a key by now, the old owner's counts.
    pub(crate) fn finish(&self, migration: Migration) {
        let Migration { slot, from, to } = migration;
        let port = self.cluster.nodes[to].port().to_string();
        for name in lines(&self.cli(from, &["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1000"])) {
            let carried = self.cli(from, &["MIGRATE", "127.0.0.1", &port, &name, "0", "1000", "REPLACE"]);
            // It may have gone meanwhile.
            assert!(carried == "+OK" || carried == "+NOKEY", "{name}: {carried}");
        }
        self.cluster.finish_migration(migration).expect("both sides are there");
    }

    /// Makes one side of a move forget of it.
    pub(crate) fn forget(&self, migration: Migration, node: usize) {
        let forgotten = self.cli(node, &["CLUSTER", "SETSLOT", &migration.slot.to_string(), "STABLE"]);
        assert_eq!(forgotten, "+OK");
    }

    /// Carries all keys back that have gone. What the old owner has by now gives way.
    pub(crate) fn carry_back(&self, Migration { slot, from, to }: Migration) {
        let port = self.cluster.nodes[from].port().to_string();
        for name in lines(&self.cli(to, &["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1000"])) {
            let carried = self.cli(to, &["MIGRATE", "127.0.0.1", &port, &name, "0", "1000", "REPLACE"]);
            assert!(carried == "+OK" || carried == "+NOKEY", "{name}: {carried}");
        }
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
