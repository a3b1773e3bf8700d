//! Threads race over a few keys: nothing stale is read, by whatever the key was invalidated.
//!
//! Each key has a version at its source. A writer raises the versions of all keys that its target covers, invalidates the
//! target, and then raises the floor of those keys: who begins to read from then on must not see an older version.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Clock, Key, ManualClock, MemoryStore, Store, Tag, Target,
    glob::Glob,
    store::{Acquired, Filled, Lease, Payload, Purpose, Read, Stored},
};

const TERM: Duration = Duration::from_millis(40);

fn done<T>(call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    loop {
        if let Poll::Ready(answer) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer;
        }
    }
}

struct Line {
    key: Key,
    written: AtomicU64,
    floor: AtomicU64,
}

struct World {
    store: MemoryStore,
    time: ManualClock,
    lines: Vec<Line>,
    done: AtomicBool,
    hits: AtomicU64,
    fills: AtomicU64,
    refused: AtomicU64,
}

impl World {
    fn new(limit: usize) -> Self {
        let time = ManualClock::new();
        let tag = |number: u64| Tag::new("t:").arg(&number);
        let mut keys = vec![Key::new("f"), Key::new("f").arg(&1).tag(tag(1))];
        for (a, b) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            keys.push(Key::new("f").arg(&a).arg(&b).tag(tag(a)).tag(tag(b + 2)));
        }
        let lines = keys.into_iter().map(|key| Line { key, written: AtomicU64::new(0), floor: AtomicU64::new(0) });
        Self {
            store: MemoryStore::with_clock(limit, Clock::from(&time)),
            time,
            lines: lines.collect(),
            done: AtomicBool::new(false),
            hits: AtomicU64::new(0),
            fills: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn any_line(&self, random: &mut fastrand::Rng) -> &Line {
        &self.lines[random.usize(..self.lines.len())]
    }

    fn write(&self, target: &Target) {
        let covered: Vec<_> = self.lines.iter().filter(|line| covers(target, &line.key)).collect();
        let written: Vec<_> = covered.iter().map(|line| line.written.fetch_add(1, SeqCst) + 1).collect();
        self.store.invalidate_now(std::slice::from_ref(target));
        for (line, version) in covered.iter().zip(written) {
            line.floor.fetch_max(version, SeqCst);
        }
    }

    fn writer(&self, kind: usize, seed: u64, writes: usize) {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..writes {
            let key = self.any_line(&mut random).key.clone();
            let nodes: Vec<_> = key.nodes().map(str::to_owned).collect();
            self.write(&match kind {
                0 => key.into_entry(),
                1 => Target::Node(random.choice(nodes).expect("a key has a node")),
                2 => Target::Tag(Tag::new("t:").arg(&random.u64(1..5))),
                3 => Target::Glob(random.choice(["f*", "f:?:1", "f:[12]", "f:1:*"]).expect("one of them").into()),
                4 => Target::All,
                _ => key.into_node(),
            });
            for _ in 0..random.u32(..300) {
                std::hint::spin_loop();
            }
        }
    }

    fn checked(&self, line: &Line, floor: u64, stored: &Stored, how: &str) {
        let Payload::Bytes(bytes) = &stored.payload else { panic!("bytes were stored") };
        let version = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        self.hits.fetch_add(1, SeqCst);
        assert!(version >= floor, "{how} of {} gave version {version}, invalidated up to {floor}", line.key);
    }

    fn reader(&self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        while !self.done.load(SeqCst) {
            let line = self.any_line(&mut random);
            let floor = line.floor.load(SeqCst);
            let mut purpose = Purpose::Load { unreadable: None };
            if let Read::Hit(stored) = self.store.read_now(&line.key).expect("answers at once") {
                self.checked(line, floor, &stored, "a read");
                match random.u32(..8) {
                    0 => purpose = Purpose::Refresh(stored.id),
                    1 => purpose = Purpose::Load { unreadable: Some(stored.id) },
                    _ => continue,
                }
            }
            let floor = line.floor.load(SeqCst);
            match done(self.store.acquire(&line.key, purpose, TERM)).expect("answers") {
                Acquired::Value(stored) => self.checked(line, floor, &stored, "an acquire"),
                Acquired::Lease(lease) => self.load(line, &lease, &mut random),
                Acquired::Wait { .. } | Acquired::Held | Acquired::Gone => {}
            }
        }
    }

    fn load(&self, line: &Line, lease: &Lease, random: &mut fastrand::Rng) {
        let version = line.written.load(SeqCst);
        for _ in 0..random.u32(..200) {
            std::hint::spin_loop();
        }
        match random.u32(..16) {
            0 => return done(self.store.release(&line.key, lease)).expect("answers"),
            1 => drop(done(self.store.renew(&line.key, lease, TERM))),
            2 => self.time.advance(TERM / 4),
            3 => std::thread::yield_now(),
            _ => {}
        }
        let mut bytes = version.to_le_bytes().to_vec();
        bytes.resize(random.usize(8..200), 0);
        let filled = done(self.store.fill(&line.key, lease, Payload::Bytes(Bytes::from(bytes)), TERM * 2));
        match filled.expect("answers") {
            Filled::Stored => self.fills.fetch_add(1, SeqCst),
            Filled::Refused => self.refused.fetch_add(1, SeqCst),
        };
    }

    fn run(&self, kinds: &[usize], seed: u64, count: usize) {
        std::thread::scope(|scope| {
            let writers: Vec<_> = kinds
                .iter()
                .map(|&kind| scope.spawn(move || self.writer(kind, seed ^ (kind as u64 + 1), count)))
                .collect();
            let readers: Vec<_> = (0..4).map(|reader| scope.spawn(move || self.reader(seed + 100 + reader))).collect();
            let outcomes: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            self.done.store(true, SeqCst);
            for outcome in outcomes.into_iter().chain(readers.into_iter().map(std::thread::ScopedJoinHandle::join)) {
                outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        });
        for line in &self.lines {
            if let Read::Hit(stored) = self.store.read_now(&line.key).expect("answers at once") {
                self.checked(line, line.written.load(SeqCst), &stored, "a read after all is quiet");
            }
        }
    }
}

fn covers(target: &Target, key: &Key) -> bool {
    match target {
        Target::Entry(path) => key.as_str() == path,
        Target::Node(path) => key.as_str() == path || key.nodes().any(|node| node == path),
        Target::Tag(tag) => key.tags().contains(tag),
        Target::Glob(glob) => Glob::new(glob).matches(key.as_str()),
        _ => true,
    }
}

/// Runs and checks that hits, fills and refused fills all came about, so that the run can have shown something.
fn race(kinds: &[usize], seed: u64, writes: usize) {
    let world = World::new(1 << 20);
    world.run(kinds, seed, writes);
    let [hits, fills, refused] = [&world.hits, &world.fills, &world.refused].map(|count| count.load(SeqCst));
    assert!(hits > 100 && fills > 100 && refused > 10, "{hits} hits, {fills} fills, {refused} refused");
}

#[test]
fn nothing_stale_after_entries() {
    race(&[0], 1, 20_000);
}

#[test]
fn nothing_stale_after_nodes() {
    race(&[1], 2, 20_000);
}

#[test]
fn nothing_stale_after_tags() {
    race(&[2], 3, 20_000);
}

#[test]
fn nothing_stale_after_globs() {
    race(&[3], 4, 20_000);
}

#[test]
fn nothing_stale_after_everything() {
    race(&[4], 5, 20_000);
}

#[test]
fn nothing_stale_after_nodes_at_their_own_path() {
    race(&[5], 6, 20_000);
}

#[test]
fn nothing_stale_when_all_kinds_race() {
    race(&[0, 1, 2, 3, 4, 5], 7, 5_000);
}

#[test]
fn nothing_stale_while_entries_are_evicted() {
    let world = World::new(4 * 1024);
    world.run(&[0, 1, 2, 3, 4, 5], 8, 5_000);
    assert!(world.store.evictions() > 100, "only {} evictions", world.store.evictions());
    assert!(world.hits.load(SeqCst) > 100, "only {} hits", world.hits.load(SeqCst));
}
