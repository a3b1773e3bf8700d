use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{Entered, Flights, Followed, Follower, Leader};
use crate::{
    key::Key,
    store::{Lease, LeaseId},
};

fn flights() -> Arc<Flights> {
    Flights::new(|_, _| {})
}

fn key() -> Key {
    Key::new("k")
}

fn leader(entered: Entered) -> Leader {
    match entered {
        Entered::Leader(leader) => leader,
        Entered::Follower(_) => panic!("joined a flight"),
    }
}

fn follower(entered: Entered) -> Follower {
    match entered {
        Entered::Follower(follower) => follower,
        Entered::Leader(_) => panic!("led a flight of its own"),
    }
}

fn poll(follower: &mut Follower) -> Poll<Followed> {
    Pin::new(follower).poll(&mut Context::from_waker(Waker::noop()))
}

fn lease(name: u8) -> Lease {
    Lease { id: LeaseId([name; 32]), stamp: [0; 32], replaces: None }
}

#[test]
fn a_caller_that_began_after_the_flight_leads_its_own() {
    let flights = flights();
    let early = flights.now();
    let _older = leader(flights.enter(&key(), early, None, false));
    follower(flights.enter(&key(), early, None, false));
    leader(flights.enter(&key(), flights.now(), None, false));
}

#[test]
fn a_lease_seen_in_the_store_lets_a_later_caller_join() {
    let flights = flights();
    let older = leader(flights.enter(&key(), flights.now(), None, false));
    older.hold(lease(7));
    follower(flights.enter(&key(), flights.now(), Some(LeaseId([7; 32])), false));
    leader(flights.enter(&key(), flights.now(), Some(LeaseId([8; 32])), false));
}

#[test]
fn a_value_can_be_joined_until_the_fill_is_over() {
    let flights = flights();
    let since = flights.now();
    let first = leader(flights.enter(&key(), since, None, false));
    first.hold(lease(7));
    first.land(Arc::new(1_u8), Some(LeaseId([7; 32])));
    let mut late = follower(flights.enter(&key(), flights.now(), Some(LeaseId([7; 32])), false));
    assert!(matches!(poll(&mut late), Poll::Ready(Followed::Landed(_))));
    drop(first);
    leader(flights.enter(&key(), since, None, false));
}

#[test]
fn each_failure_doubles_the_loads_side_by_side() {
    let flights = flights();
    let since = flights.now();
    let mut leaders = vec![leader(flights.enter(&key(), since, None, false))];
    let mut followers: Vec<_> = (0..20).map(|_| follower(flights.enter(&key(), since, None, false))).collect();
    let mut side_by_side = Vec::new();
    while let Some(leader) = leaders.pop() {
        leader.fail();
        followers.retain_mut(|follower| match poll(follower) {
            Poll::Ready(Followed::Lead(leader)) => {
                leaders.push(leader);
                false
            }
            Poll::Ready(_) => panic!("neither waits nor leads"),
            Poll::Pending => true,
        });
        side_by_side.push(leaders.len());
    }
    assert_eq!(side_by_side[..3], [2, 4, 8]);
    assert!(followers.is_empty(), "everybody got a load of its own in the end");
}

/// A bug that the simulator found (memory, seed 2): one load began before an invalidation, the other one took a lease after
/// it. Whoever saw that lease was given the value of the first.
#[test]
fn a_lease_leads_only_to_what_was_loaded_under_it() {
    let flights = flights();
    let since = flights.now();
    let first = leader(flights.enter(&key(), since, None, false));
    let mut heirs: Vec<_> = (0..2).map(|_| follower(flights.enter(&key(), since, None, false))).collect();
    let mut patient = follower(flights.enter(&key(), since, None, false));
    first.fail();
    let mut leads = heirs.iter_mut().map(|heir| match poll(heir) {
        Poll::Ready(Followed::Lead(leader)) => leader,
        _ => panic!("two load side by side after a failure"),
    });
    let (older, newer) = (leads.next().expect("two"), leads.next().expect("two"));
    older.hold(lease(7));
    // An invalidation removes the lease 7. The other leader gets one after it.
    newer.hold(lease(8));
    let seen = Some(LeaseId([8; 32]));
    let mut early = follower(flights.enter(&key(), flights.now(), seen, false));
    older.land(Arc::new("old"), Some(LeaseId([7; 32])));
    assert!(matches!(poll(&mut early), Poll::Ready(Followed::Again)), "not what was loaded under another lease");
    assert!(matches!(poll(&mut patient), Poll::Ready(Followed::Landed(_))), "who came before both loads takes either");
    leader(flights.enter(&key(), flights.now(), seen, false));
}

/// A bug that the simulator found (Redis, seed 5): a glob removed a value and not the lease beside it. The next value found
/// that lease beside itself, and who wanted it replaced was given what had been loaded before the glob.
#[test]
fn a_refresh_is_joined_only_by_who_saw_the_same_value() {
    let flights = flights();
    let first = leader(flights.enter(&key(), flights.now(), None, false));
    first.hold(Lease { replaces: Some(LeaseId([1; 32])), ..lease(7) });
    let join = |value| flights.join_lease(&key(), LeaseId([7; 32]), value, false).is_some();
    assert!(join(Some(LeaseId([1; 32]))));
    assert!(!join(Some(LeaseId([2; 32]))));
    assert!(!join(None));
}

#[test]
fn followers_that_hold_a_stale_value_leave_at_the_first_failure() {
    let flights = flights();
    let since = flights.now();
    let first = leader(flights.enter(&key(), since, None, true));
    let mut stale = follower(flights.enter(&key(), since, None, true));
    let mut other = follower(flights.enter(&key(), since, None, false));
    first.fail();
    assert!(matches!(poll(&mut stale), Poll::Ready(Followed::Failed)));
    drop(stale);
    assert!(matches!(poll(&mut other), Poll::Ready(Followed::Lead(_))));
}

#[test]
fn the_lease_of_a_flight_that_nobody_continues_is_given_back() {
    let back = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&back);
    let flights = Flights::new(move |_, lease| seen.lock().expect("not poisoned").push(lease));
    let since = flights.now();
    let first = leader(flights.enter(&key(), since, None, false));
    first.hold(lease(7));
    let mut heir = follower(flights.enter(&key(), since, None, false));
    drop(first);
    let Poll::Ready(Followed::Lead(heir)) = poll(&mut heir) else { panic!("the follower leads") };
    assert_eq!(heir.lease(), Some(lease(7)), "the lease is inherited");
    assert!(back.lock().expect("not poisoned").is_empty());
    drop(heir);
    assert_eq!(*back.lock().expect("not poisoned"), [lease(7)]);
}

/// The simulator's random schedules seldom come across these two: this shows that the tests above would notice.
#[cfg(feature = "__mutants")]
#[test]
fn the_bugs_that_the_simulator_found_would_be_noticed_again() {
    use crate::mutant::{Mutant, choose};
    let tests: [(Mutant, fn()); 2] = [
        (Mutant::TakesAnyLease, a_lease_leads_only_to_what_was_loaded_under_it),
        (Mutant::JoinsRefreshOfAnother, a_refresh_is_joined_only_by_who_saw_the_same_value),
    ];
    for (mutant, test) in tests {
        choose(Some(mutant));
        let outcome = std::panic::catch_unwind(test);
        choose(None);
        assert!(outcome.is_err(), "{mutant:?} has not been noticed");
    }
}
