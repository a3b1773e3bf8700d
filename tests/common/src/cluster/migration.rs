//! A slot on its way from one primary to another, step by step.
//!
//! Between [begin](ClusterServers::begin_migration) and [finish](ClusterServers::finish_migration) the slot is in both nodes: keys that
//! are there are served by the old owner, all others by the new one, for those who were sent there by `ASK`.

use super::ClusterServers;
use crate::cli::strings;

/// A slot on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// What is moved.
    pub slot: u16,
    /// The node that owned it in the beginning.
    pub from: usize,
    /// The node that is to own it.
    pub to: usize,
}

type Result<T> = std::result::Result<T, String>;

impl ClusterServers {
    /// Declares a slot as being on its way to another primary. No key is moved by that.
    ///
    /// # Errors
    ///
    /// What a node refuses, or that it does not answer; so for all steps.
    pub fn begin_migration(&self, slot: u16, to: usize) -> Result<Migration> {
        let from = self.owner(slot).ok_or("nobody owns the slot")?;
        let migration = Migration { slot, from, to };
        self.set_slot(to, slot, &["IMPORTING", &self.ids[from]])?;
        self.set_slot(from, slot, &["MIGRATING", &self.ids[to]])?;
        Ok(migration)
    }

    /// Moves at most this many keys, and returns how many.
    ///
    /// # Errors
    ///
    /// See [`begin_migration`](ClusterServers::begin_migration).
    pub fn move_keys(&self, migration: Migration, most: usize) -> Result<usize> {
        self.carry(migration.slot, migration.from, migration.to, most)
    }

    /// Moves the keys that are left, and makes the new node the owner. Also if the old owner was replaced meanwhile and its heir knows
    /// nothing of this: what the heir has counts then.
    ///
    /// # Errors
    ///
    /// See [`begin_migration`](ClusterServers::begin_migration).
    pub fn finish_migration(&self, migration: Migration) -> Result<()> {
        let Migration { slot, to, .. } = migration;
        let from = self.owner(slot).ok_or("nobody owns the slot")?;
        if from == to {
            return Ok(());
        }
        while self.carry(slot, from, to, 100)? > 0 {}
        // The new owner first: nobody else could serve the slot if the old one let it go before.
        self.set_slot(to, slot, &["NODE", &self.ids[to]])?;
        self.set_slot(from, slot, &["NODE", &self.ids[to]])?;
        let others = (0..self.nodes.len()).filter(|&other| other != from && other != to);
        for other in others.filter(|&other| self.view(other).is_some_and(|view| view.me().is_primary)) {
            // It would hear of it soon. One that is about to step down may refuse.
            let _ = self.set_slot(other, slot, &["NODE", &self.ids[to]]);
        }
        Ok(())
    }

    /// Lets nodes forget that slots are on their way, but for this one: what is left of migrations whose nodes were replaced meanwhile.
    /// A node that waits for a slot for ever takes nobody's word for who owns it.
    pub fn forget_migrations(&self, but: Option<u16>) {
        for node in 0..self.nodes.len() {
            let moving = self.view(node).map(|view| view.me().moving.clone()).unwrap_or_default();
            for slot in moving.into_iter().filter(|slot| Some(*slot) != but) {
                // It may have been forgotten by itself, as by a primary that has become a replica.
                let _ = self.set_slot(node, slot, &["STABLE"]);
            }
        }
    }

    /// All steps at once.
    ///
    /// # Errors
    ///
    /// See [`begin_migration`](ClusterServers::begin_migration).
    pub fn migrate(&self, slot: u16, to: usize) -> Result<()> {
        let migration = self.begin_migration(slot, to)?;
        self.finish_migration(migration)
    }

    fn set_slot(&self, node: usize, slot: u16, what: &[&str]) -> Result<()> {
        let slot = slot.to_string();
        let reply = self.ask(node, &[&["CLUSTER", "SETSLOT", &slot], what].concat())?;
        if reply == "+OK" { Ok(()) } else { Err(reply) }
    }

    fn carry(&self, slot: u16, from: usize, to: usize, most: usize) -> Result<usize> {
        let reply = self.ask(from, &["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &most.to_string()])?;
        let keys = strings(&reply);
        if keys.is_empty() {
            return if reply.starts_with('*') { Ok(0) } else { Err(reply) };
        }
        let port = self.nodes[to].port().to_string();
        let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "1000", "REPLACE"];
        if let Some(password) = &self.options.password {
            command.extend(["AUTH", password]);
        }
        command.push("KEYS");
        command.extend(&keys);
        let reply = self.ask(from, &command)?;
        // Keys may be gone meanwhile.
        if reply == "+OK" || reply == "+NOKEY" { Ok(keys.len()) } else { Err(reply) }
    }
}
