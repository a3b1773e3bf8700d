//! Faults of servers and sentinels.

use test_support::RedisServer;

use super::{Faults, Undo};
use crate::{
    Topology,
    checker::{Book, GRACE},
    clock::{Nanos, millis, now},
    servers::Servers,
    watch::{Change, Seen},
    world::World,
};

/// What a primary had acknowledged this long before it was replaced may not have reached its replica.
const UNSAID: Nanos = 1_000_000_000;

impl Faults {
    pub(super) fn break_server(&mut self, name: &'static str, world: &mut World, book: &mut Book) -> bool {
        let Some(server) = self.victim(name, world) else { return false };
        let from = now();
        self.log.push((from, format!("{name} of server {server} begins")));
        let is_short = self.topology == Topology::Single || self.rng.bool();
        let is_begun = match name {
            "redis-kill" => {
                world.kill_server(server);
                if self.topology == Topology::Single || self.rng.bool() {
                    world.servers.all()[server].remove_dump();
                }
                self.last(name, if is_short { 20..2_000 } else { 500..5_000 }, Undo::StartServer(server));
                true
            }
            "redis-stop" => {
                world.stop_server(server);
                self.last(name, if is_short { 20..2_000 } else { 500..5_000 }, Undo::ContinueServer(server));
                true
            }
            "flush" => {
                world.ask(server, &["FLUSHALL"]);
                book.lost(from, now());
                true
            }
            "evict" | "full" => {
                self.run_short(name, server, world);
                true
            }
            "old-dump" => {
                let saved = world.servers.all()[server].save();
                if saved {
                    self.last(name, 300..3_000, Undo::KillForDump(server));
                }
                saved
            }
            "failover" => self.fail_over(server, world),
            "demote" => {
                world.demote(|| self.rng.bool());
                book.demoted(from, from);
                book.lost(from - UNSAID, now() + GRACE);
                true
            }
            _ => {
                world.promote(self.rng.bool());
                book.lost(from - UNSAID, now());
                true
            }
        };
        if is_begun {
            self.log.push((now(), format!("{name} of server {server} has begun")));
        }
        is_begun
    }

    /// Whom it is to hit: a primary, or any server where that is a fault.
    fn victim(&mut self, name: &str, world: &World) -> Option<usize> {
        let broken: Vec<_> = self.active.iter().filter_map(|active| active.undo.server()).collect();
        // In a cluster two may be broken at once; with more, little would be left to look at.
        let most = if self.topology == Topology::Cluster { 2 } else { 1 };
        if broken.len() >= most || (name.ends_with("mote") && !world.has_replica()) {
            return None;
        }
        let mut servers = world.claimants();
        if !broken.is_empty() {
            // Of three primaries two have to agree on a failover.
            servers = (0..world.servers.all().len()).filter(|server| !servers.contains(server)).collect();
        } else if name == "redis-kill" && self.topology != Topology::Single && self.rng.bool() {
            servers = (0..world.servers.all().len()).collect();
        }
        servers.retain(|server| !broken.contains(server));
        self.rng.choice(servers)
    }

    pub(super) fn break_sentinel(&mut self, name: &'static str, world: &mut World) -> bool {
        let is_sentinel = |undo| matches!(undo, Undo::StartSentinel(_) | Undo::ContinueSentinel(_));
        let running: Vec<_> = world.servers.sentinels().iter().map(RedisServer::runs).collect();
        let sentinel = self.rng.usize(0..running.len());
        // The last one keeps running.
        if !running[sentinel] || self.active.iter().filter(|active| is_sentinel(active.undo)).count() >= 2 {
            return false;
        }
        self.log.push((now(), format!("{name}: sentinel {sentinel}")));
        if name == "sentinel-kill" {
            world.kill_sentinel(sentinel);
            self.last(name, 100..5_000, Undo::StartSentinel(sentinel));
        } else {
            world.servers.sentinels()[sentinel].stop();
            self.last(name, 100..5_000, Undo::ContinueSentinel(sentinel));
        }
        true
    }

    /// Notes which servers took over without the supervisor's doing.
    pub(super) fn note_changes(&mut self, world: &mut World, book: &mut Book) {
        for (at, primaries) in world.notes.drain(..) {
            let all =
                primaries.map_or("there is no primary for everything".to_owned(), |all| format!("primaries: {all:?}"));
            self.log.push((at, all));
        }
        for Seen { what, from, at } in world.changes() {
            // Nobody is sent to a new primary of a group before a sentinel has named it.
            let is_taken_over = match what {
                Change::Promoted(server) => {
                    self.promoted += 1;
                    book.lost(from - UNSAID, at + 2 * GRACE);
                    self.log.push((at, format!("server {server} has become a primary")));
                    self.topology == Topology::Cluster
                }
                Change::Named(server) => {
                    self.log.push((
                        at,
                        format!("the sentinels name server {server}, certain {:.0} ms before", millis(at - from)),
                    ));
                    true
                }
            };
            if is_taken_over {
                self.longest_handover = self.longest_handover.max(at - from);
                book.demoted(from, at);
            }
        }
    }

    /// Takes memory away from a server, so that it evicts some keys, or is full.
    fn run_short(&mut self, name: &'static str, server: usize, world: &mut World) {
        let limit = |policy, limit: &str| {
            world.ask(server, &["CONFIG", "SET", "maxmemory-policy", policy]);
            world.ask(server, &["CONFIG", "SET", "maxmemory", limit]);
        };
        if name == "evict" {
            let used = number(&world.ask(server, &["INFO", "memory"]), "used_memory:");
            limit("allkeys-lru", &(used - self.rng.u64(0..80_000)).to_string());
            self.last(name, 500..3_000, Undo::Memory(server));
        } else {
            limit(if self.rng.bool() { "allkeys-lru" } else { "noeviction" }, "1mb");
            world.touch(server);
            self.last(name, 100..1_500, Undo::Memory(server));
        }
    }

    pub(super) fn end_shortage(&mut self, server: usize, world: &mut World) {
        self.evicted += number(&world.ask(server, &["INFO", "stats"]), "evicted_keys:");
        world.ask(server, &["CONFIG", "RESETSTAT"]);
        world.ask(server, &["CONFIG", "SET", "maxmemory", "0"]);
        world.redis_is_good = true;
    }

    /// Commands it.
    fn fail_over(&mut self, server: usize, world: &mut World) -> bool {
        let is_commanded = match &world.servers {
            Servers::Single(_) => false,
            Servers::Sentinel(group) => group.try_fail_over(),
            Servers::Cluster(cluster) => self.promote_replica(server, cluster),
        };
        if is_commanded {
            world.touch(server);
        }
        is_commanded
    }
}

fn number(info: &str, field: &str) -> u64 {
    info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok()).unwrap_or(0)
}
