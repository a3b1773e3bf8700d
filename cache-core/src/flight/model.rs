//! Random schedules of leaders and followers, by shuttle: whatever is dropped, panics or fails, nobody hangs, nobody is
//! served by a flight that began before it, and no lease is lost.

use std::sync::Arc;

use shuttle::{check_random, future, thread};

use super::{Entered, Flights, Followed, Leader};
use crate::{
    key::Key,
    store::{Lease, LeaseId},
    sync::{AtomicU64, Mutex, Ordering, lock},
};

const SCHEDULES: usize = 4_000;

/// How a leader's load ends.
#[derive(Clone, Copy)]
enum Fate {
    Land,
    Fail,
    Drop,
    Panic,
}

struct World {
    flights: Arc<Flights>,
    /// The source: each load reads it.
    source: AtomicU64,
    /// The store's place for a lease: one at a time.
    place: Arc<Mutex<Option<LeaseId>>>,
    granted: AtomicU64,
}

fn vacate(place: &Mutex<Option<LeaseId>>, lease: &Lease) {
    let mut place = lock(place);
    if *place == Some(lease.id) {
        *place = None;
    }
}

impl World {
    fn new() -> Arc<Self> {
        let place = Arc::new(Mutex::new(None));
        let store = Arc::clone(&place);
        let flights = Flights::new(move |_, lease| vacate(&store, &lease));
        Arc::new(Self { flights, source: AtomicU64::new(0), place, granted: AtomicU64::new(0) })
    }

    /// As the store does it: one lease at a time; who gets none loads without storing.
    fn acquire(&self, leader: &Leader) {
        let mut place = lock(&self.place);
        if place.is_none() {
            let number = self.granted.fetch_add(1, Ordering::SeqCst);
            let id = LeaseId([u8::try_from(number).expect("few leases"); 32]);
            *place = Some(id);
            drop(place);
            leader.hold(Lease { id, stamp: [0; 32], replaces: None });
        }
    }

    fn lead(&self, leader: Leader, fate: Fate) -> Option<u64> {
        if leader.lease().is_none() {
            self.acquire(&leader);
        }
        let lease = leader.lease();
        let value = self.source.load(Ordering::SeqCst);
        thread::yield_now();
        match fate {
            Fate::Land => {
                leader.land(Arc::new(value), lease.as_ref().map(|lease| lease.id));
                thread::yield_now();
                if let Some(lease) = lease {
                    vacate(&self.place, &lease);
                    leader.let_go(lease.id);
                }
                Some(value)
            }
            Fate::Fail => {
                if let Some(lease) = leader.fail() {
                    vacate(&self.place, &lease);
                }
                None
            }
            Fate::Drop => None,
            Fate::Panic => {
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    let _leader = leader;
                    std::panic::resume_unwind(Box::new("the loader panics"));
                }));
                assert!(caught.is_err());
                None
            }
        }
    }

    /// A caller: reads the floor, enters, and must end with a value no older than the floor, or with its own failure.
    fn call(&self, fate: Fate) {
        let key = Key::new("k");
        let floor = self.source.load(Ordering::SeqCst);
        let seen = loop {
            let since = self.flights.now();
            match self.flights.enter(&key, since, None, false) {
                Entered::Leader(leader) => break self.lead(leader, fate),
                Entered::Follower(follower) => match future::block_on(follower) {
                    Followed::Landed(value) => break value.downcast_ref::<u64>().copied(),
                    Followed::Lead(leader) => break self.lead(leader, fate),
                    Followed::Failed => unreachable!("nobody holds a stale value here"),
                    Followed::Again => {}
                },
            }
        };
        if let Some(seen) = seen {
            assert!(seen >= floor, "served {seen}, though {floor} was there when the caller began");
        }
    }
}

fn explore(fates: &'static [Fate], writes: u64) {
    check_random(
        move || {
            let world = World::new();
            let writer = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    for _ in 0..writes {
                        world.source.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                    }
                })
            };
            let callers: Vec<_> = fates
                .iter()
                .map(|&fate| {
                    let world = Arc::clone(&world);
                    thread::spawn(move || world.call(fate))
                })
                .collect();
            for caller in callers {
                caller.join().expect("a caller ends");
            }
            writer.join().expect("the writer ends");
            assert!(lock(&world.place).is_none(), "a lease was neither used nor given back");
            assert!(world.flights.shards.iter().all(|shard| lock(shard).is_empty()), "a flight is left over");
        },
        SCHEDULES,
    );
}

#[test]
fn callers_share_loads_and_see_nothing_older_than_their_start() {
    explore(&[Fate::Land, Fate::Land, Fate::Land, Fate::Land], 3);
}

#[test]
fn a_dropped_leader_hands_over() {
    explore(&[Fate::Drop, Fate::Land, Fate::Drop, Fate::Land], 1);
}

#[test]
fn a_panicking_leader_hands_over() {
    explore(&[Fate::Panic, Fate::Land, Fate::Land], 1);
}

#[test]
fn failures_reach_each_caller_once() {
    explore(&[Fate::Fail, Fate::Fail, Fate::Fail, Fate::Land], 1);
}

#[test]
fn a_follower_that_leaves_passes_the_lead_on() {
    check_random(
        || {
            let world = World::new();
            let key = Key::new("k");
            let since = world.flights.now();
            let Entered::Leader(leader) = world.flights.enter(&key, since, None, false) else { unreachable!() };
            let Entered::Follower(leaves) = world.flights.enter(&key, since, None, false) else { unreachable!() };
            let Entered::Follower(stays) = world.flights.enter(&key, since, None, false) else { unreachable!() };
            let leader = thread::spawn(move || drop(leader));
            let leaves = thread::spawn(move || drop(leaves));
            assert!(matches!(future::block_on(stays), Followed::Lead(_)));
            leader.join().expect("ends");
            leaves.join().expect("ends");
        },
        SCHEDULES,
    );
}
