//! What breaks.

use cache_core::L1;

use super::{Schedule, add_stats};
use crate::server::Server;

/// The share of what breaks that concerns only those who keep leased copies.
const FEED: f64 = 0.3;

impl Schedule<'_> {
    /// Breaks something.
    pub(super) fn trouble(&mut self) {
        let chance = self.random.f64();
        if chance < 0.10 {
            return self.give_up_a_read();
        }
        if self.server.is_none() {
            return;
        }
        if self.weather.restarts && self.random.bool() {
            return match self.random.u32(0..8) {
                0..6 => self.server().save(),
                6 => self.restart(true),
                _ => self.black_out(),
            };
        }
        if self.settings.l1 == L1::Leased && self.random.f64() < FEED {
            return match self.random.u32(0..10) {
                0..6 => self.stall_feed(),
                6..9 => self.refuse_to_publish(),
                _ => self.freeze(),
            };
        }
        match chance {
            ..0.45 => self.evict(),
            ..0.62 => self.server().save(),
            ..0.64 => self.flush(),
            ..0.66 => self.restart(true),
            ..0.665 => self.restart(false),
            ..0.70 => self.cut_one(),
            ..0.72 => self.cut_off(),
            ..0.725 => self.outage(),
            ..0.77 => self.stall(),
            ..0.785 => self.crash(),
            ..0.80 => self.forget_scripts(),
            ..0.82 => self.freeze(),
            _ => {}
        }
    }

    fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("there is one wherever it is in trouble")
    }

    fn note(&self, what: &str, detail: impl std::fmt::Display) {
        let mut state = self.world.lock();
        state.count(what, 1);
        state.trace(|| format!("* {what} {detail}"));
    }

    fn give_up_a_read(&mut self) {
        let reads: Vec<usize> = (0..self.actors.len()).filter(|&index| self.actors[index].reads.is_some()).collect();
        if let Some(&index) = reads.get(self.random.usize(..reads.len().max(1))) {
            let actor = self.actors.swap_remove(index);
            self.note("read given up", format_args!("instance {} key {:?}", actor.instance, actor.reads));
            actor.task.abort();
        }
    }

    fn evict(&mut self) {
        let mut keys = self.server().keys();
        if keys.is_empty() {
            return;
        }
        let key = keys.swap_remove(self.random.usize(..keys.len()));
        if self.server().kind(&key) == Some(b'Q') {
            self.world.lock().losses += 1;
        }
        self.server().evict(&key);
        self.note("key evicted", String::from_utf8_lossy(&key));
    }

    fn flush(&mut self) {
        self.server().flush();
        self.world.lock().losses += 1;
        self.note("flush", "");
    }

    /// Scripts have to be sent again.
    fn forget_scripts(&mut self) {
        self.server().forget_scripts();
        self.note("scripts forgotten", "");
    }

    /// Everybody loses the connection, with what was under way.
    fn restart(&mut self, from_dump: bool) {
        self.server().restart(from_dump);
        self.echoes.clear();
        self.world.lock().losses += 1;
        self.cut_all(0);
        // Not all find back at once.
        for id in self.slots.iter().filter_map(|slot| slot.running().map(|running| running.id)).collect::<Vec<_>>() {
            if self.random.bool() {
                let until = self.world.lock().now + self.random.u64(30..900);
                self.network.lock().unreachable.insert(id);
                self.cut_off.push((id, until));
            }
        }
        self.note("restart", if from_dump { "with older data" } else { "with the data as they were" });
    }

    /// The server comes back with older data, and who knows what has been invalidated since is gone.
    fn black_out(&mut self) {
        for _ in 0..self.slots.len() / 2 {
            self.crash();
        }
        self.restart(true);
    }

    fn cut_all(&mut self, arrived: usize) {
        for connection in &mut self.network.lock().connections {
            connection.cut(arrived);
        }
    }

    fn cut_one(&mut self) {
        let network = self.network.clone();
        let mut network = network.lock();
        if network.connections.is_empty() {
            return;
        }
        let index = self.random.usize(..network.connections.len());
        let connection = &mut network.connections[index];
        connection.cut(self.random.usize(..=connection.requests.len()));
        self.note("connection cut", format_args!("of instance {}", connection.instance));
    }

    fn cut_off(&mut self) {
        let Some(instance) = self.one_running() else { return };
        let until = self.world.lock().now + self.random.u64(30..900);
        let mut network = self.network.lock();
        network.unreachable.insert(instance.id);
        for connection in network.connections.iter_mut().filter(|connection| connection.instance == instance.id) {
            connection.cut(self.random.usize(..=connection.requests.len()));
        }
        drop(network);
        self.cut_off.push((instance.id, until));
        self.note("instance cut off", format_args!("{} until {until}", instance.id));
    }

    fn outage(&mut self) {
        self.down_until = self.world.lock().now + self.random.u64(30..600);
        self.network.lock().down = true;
        self.cut_all(usize::MAX);
        self.note("server out of reach", format_args!("until {}", self.down_until));
    }

    fn stall(&mut self) {
        let network = self.network.clone();
        let mut network = network.lock();
        if network.connections.is_empty() {
            return;
        }
        let index = self.random.usize(..network.connections.len());
        let connection = &mut network.connections[index];
        connection.stalled_until = self.world.lock().now + self.random.u64(20..400);
        self.note("connection stalled", format_args!("of instance {}", connection.instance));
    }

    /// Whoever hears what is published hears nothing for about as long as a lease.
    fn stall_feed(&mut self) {
        let network = self.network.clone();
        let mut network = network.lock();
        let mut feeds: Vec<_> =
            network.connections.iter_mut().filter(|connection| connection.has_subscribed()).collect();
        if feeds.is_empty() {
            return;
        }
        let connection = feeds.swap_remove(self.random.usize(..feeds.len()));
        connection.stalled_until = self.world.lock().now + self.random.u64(600..2_000);
        self.note("feed stalled", format_args!("of instance {}", connection.instance));
    }

    /// For a while announcements are made and told to nobody.
    fn refuse_to_publish(&mut self) {
        self.mute_until = self.world.lock().now + self.random.u64(50..600);
        self.server().mute(true);
        self.note("publishing refused", format_args!("until {}", self.mute_until));
    }

    /// Nothing comes from or to an instance, and its actors do not go on.
    fn freeze(&mut self) {
        let Some(instance) = self.one_running() else { return };
        let until = self.world.lock().now + self.random.u64(100..2_500);
        self.network.lock().freeze(instance.id, until);
        self.note("instance frozen", format_args!("{} until {until}", instance.id));
    }

    /// An instance dies with all that it was doing; another takes its place.
    fn crash(&mut self) {
        let Some(instance) = self.one_running() else { return };
        let id = instance.id;
        self.actors.retain(|actor| {
            if actor.instance == id {
                actor.task.abort();
            }
            actor.instance != id
        });
        let mut network = self.network.lock();
        network.unreachable.insert(id);
        for connection in network.connections.iter_mut().filter(|connection| connection.instance == id) {
            connection.cut(self.random.usize(..=connection.requests.len()));
        }
        drop(network);
        add_stats(&instance.cache, |what, by| self.world.lock().count(what, by));
        self.world.lock().checker.crashed(id);
        self.note("instance crashed", id);
        let started = self.start();
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.running().is_some_and(|running| running.id == id)) {
            *slot = started;
        }
    }
}
