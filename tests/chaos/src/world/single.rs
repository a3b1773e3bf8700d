//! The single server: its replica takes over by hand, and the links are led to it.

use super::World;
use crate::servers::{Servers, replica_of, watch};

impl World {
    /// Whether the replica could be promoted.
    pub(crate) fn has_replica(&self) -> bool {
        self.servers.all()[1].cli(&["INFO", "replication"]).contains("master_link_status:up")
    }

    /// The replica takes the primary's place, which dies or hangs; all links are led to it.
    pub(crate) fn promote(&mut self, kills: bool) {
        self.all_cut = true;
        self.places.iter().for_each(|place| place.apply(true));
        if kills {
            self.kill_server(0);
        } else {
            self.stop_server(0);
        }
        let address = self.switch();
        self.all_cut = false;
        for place in &self.places {
            place.proxy().redirect(address);
            place.apply(false);
        }
        self.redis_is_good = true;
        let Servers::Single(servers) = &mut self.servers else { unreachable!("the others fail over by themselves") };
        let old = servers.pop().expect("there are two");
        old.pid().into_iter().for_each(|pid| self.reaper.forget(pid));
        drop(old);
        let replica = replica_of(&servers[0]).expect("there was one before");
        watch(&replica, &mut self.reaper);
        servers.push(replica);
    }

    /// The replica takes the primary's place, which becomes its replica. Only the links of `told` are closed; the others still
    /// lead to a server that answers reads.
    pub(crate) fn demote(&mut self, mut told: impl FnMut() -> bool) {
        self.touch(0);
        let [primary, replica] = self.servers.all() else { unreachable!("the others fail over by themselves") };
        // First, so that there are never two that take writes.
        primary.cli(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
        let address = self.switch();
        for place in &self.places {
            if told() {
                place.proxy().redirect(address);
            } else {
                place.proxy().lead(address);
            }
        }
        self.redis_is_good = true;
    }

    /// Returns where the new primary is.
    fn switch(&mut self) -> std::net::SocketAddr {
        let servers = self.servers.all_mut();
        assert_eq!(servers[1].cli(&["REPLICAOF", "NO", "ONE"]), "+OK", "a replica can be promoted");
        servers.swap(0, 1);
        servers[0].address()
    }
}
