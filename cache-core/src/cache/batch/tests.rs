//! What tests from outside cannot arrange.

use super::*;
use crate::{
    cache::{
        Cache,
        call::{FIRST_LEASE, LEASE, RENEWAL},
        look::Want,
    },
    flight::{Followed, Follower},
    store::{Acquired, Purpose, Read},
};

fn need() -> Need<u32> {
    Need { want: Want::NoStore, loading: None, current: None, early: false }
}

fn joined(entered: Entered) -> Follower {
    match entered {
        Entered::Follower(follower) => follower,
        Entered::Leader(_) => panic!("somebody else loads"),
    }
}

async fn promoted(follower: Follower) -> Leader {
    match follower.await {
        Followed::Lead(leader) => leader,
        _ => panic!("the load failed"),
    }
}

/// After a failure two loads run beside each other: a batch without a lease, and another load, which takes one later. What
/// the batch has read may be from before an invalidation that the lease is not.
async fn a_batch_lands_while_its_flight_has_a_later_lease() {
    let cache = Cache::memory();
    let (key, policy) = (Key::new("k"), Policy::new(Duration::from_secs(60)));
    let mut batch: Batch<'_, u32> = Batch::begin(&cache.inner, std::iter::once(&key), &policy);
    let item = batch.unread.pop().expect("there is one");
    let other = Call::begin(&cache.inner, &key, &policy, Chance::default());
    let first = Call::begin(&cache.inner, &key, &policy, Chance::default()).enter(&need());
    let Entered::Leader(first) = first else { panic!("the first") };
    let (in_batch, beside) = (joined(item.call.enter(&need())), joined(other.enter(&need())));
    first.fail();

    let mut led = Led::new();
    led.lead(item, promoted(in_batch).await, need());
    let beside = promoted(beside).await;
    let store = &cache.inner.store;
    let acquired = store.acquire(&key, Purpose::Load { unreadable: None }, Duration::from_secs(10)).await;
    let Ok(Acquired::Lease(late)) = acquired else { panic!("{acquired:?}") };
    beside.hold(late.clone());

    let served = led.land(vec![Loaded { value: Some(Arc::new(1)), store: true }], Duration::ZERO).await;
    assert_eq!(served, [(0, Some(Arc::new(1)))], "the caller has what it loaded");
    let read = store.read(&key).await;
    assert!(matches!(read, Ok(Read::Miss { loading }) if loading == Some(late.id)), "{read:?}");
}

#[tokio::test]
async fn a_load_stores_only_under_the_lease_that_it_began_with() {
    a_batch_lands_while_its_flight_has_a_later_lease().await;
}

#[cfg(feature = "__mutants")]
#[test]
fn a_batch_that_took_late_leases_would_be_noticed() {
    use crate::mutant::{Mutant, choose};
    choose(Some(Mutant::BatchTakesLateLeases));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let test = || runtime.block_on(a_batch_lands_while_its_flight_has_a_later_lease());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
    choose(None);
    assert!(outcome.is_err(), "it has not been noticed");
}

#[test]
fn the_leases_of_no_batch_look_as_if_their_process_had_died() {
    for leases in [1, 10, 500, 501, 2_000, 10_000, 1_000_000] {
        let pace = Pace::of(leases);
        assert!(pace.lasts + RENEWAL >= LEASE + pace.every, "{leases}: {pace:?}");
        assert!(pace.first == FIRST_LEASE || pace.first >= LEASE, "{leases}: {pace:?}");
    }
}
