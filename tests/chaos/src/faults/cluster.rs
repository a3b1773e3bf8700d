//! Faults that only a cluster has: slots on their way, and replicas that take over in several ways.

use std::time::Duration;

use test_support::{ClusterServers, Migration, Promotion};

use super::{Active, Faults, Undo};
use crate::{
    clock::{nanos, now},
    servers::Servers,
    world::World,
};

impl Faults {
    pub(super) fn promote_replica(&mut self, primary: usize, cluster: &ClusterServers) -> bool {
        let how = [Promotion::Agreed, Promotion::Forced, Promotion::Takeover][self.rng.usize(0..3)];
        let Some(replica) = self.rng.choice(cluster.replicas_of(primary)) else { return false };
        let done = cluster.try_promote(replica, how);
        self.log.push((now(), format!("{how:?} promotion of server {replica}: {done:?}")));
        done.is_ok()
    }

    /// Moves some keys of a slot that is in use to another primary. The slot stays in both places for a while.
    pub(super) fn migrate(&mut self, world: &mut World) -> bool {
        let Servers::Cluster(cluster) = &world.servers else { return false };
        let mut primaries = world.claimants();
        let is_up = |primary: &usize| cluster.nodes[*primary].runs();
        let is_moving = self.active.iter().any(|active| matches!(active.undo, Undo::Migrate(_)));
        if is_moving || primaries.len() < 2 || !primaries.iter().all(is_up) {
            return false;
        }
        self.rng.shuffle(&mut primaries);
        let (from, to) = (primaries[0], primaries[1]);
        let Ok(key) = cluster.nodes[from].try_cli(&["RANDOMKEY"]) else { return false };
        if key.starts_with(['$', '-', '_']) {
            return false;
        }
        let migration = Migration { slot: cluster.slot_of(&key), from, to };
        let moved =
            cluster.begin_migration(migration.slot, to).and_then(|it| cluster.move_keys(it, self.rng.usize(0..4)));
        self.log.push((now(), format!("migrate: {migration:?}, keys moved: {moved:?}")));
        // Also if that failed half-way.
        self.last("migrate", 50..2_000, Undo::Migrate(migration));
        true
    }

    /// What a node remembers of a slot that went elsewhere while it was down.
    pub(super) fn forget_migrations(&self, world: &World) {
        let slot = self.active.iter().find_map(|active| match active.undo {
            Undo::Migrate(migration) => Some(migration.slot),
            _ => None,
        });
        if let Servers::Cluster(cluster) = &world.servers {
            cluster.forget_migrations(slot);
        }
    }

    pub(super) fn migrate_on(&mut self, migration: Migration, world: &World) {
        let Servers::Cluster(cluster) = &world.servers else { return };
        let done = cluster.finish_migration(migration).or_else(|_| cluster.migrate(migration.slot, migration.to));
        self.log.push((now(), format!("migrate: {migration:?} goes on: {done:?}")));
        if done.is_ok() {
            cluster.forget_migrations(None);
            return;
        }
        let mut to = migration.to;
        let claimants = world.claimants();
        if !claimants.contains(&to) {
            // It is no primary any more: another one gets the slot.
            let owner = cluster.owner(migration.slot);
            let others = claimants.into_iter().filter(|&other| Some(other) != owner);
            to = self.rng.choice(others.collect::<Vec<_>>()).unwrap_or(to);
        }
        std::thread::sleep(Duration::from_millis(20));
        let (since, until) = (now(), now() + nanos(Duration::from_millis(300)));
        self.active.push(Active { name: "migrate", since, until, undo: Undo::Migrate(Migration { to, ..migration }) });
    }
}
