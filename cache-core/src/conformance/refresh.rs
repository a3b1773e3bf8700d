//! A refresh replaces exactly the value that it saw, and the value stays readable meanwhile.

use super::trial::{LONG, SHORT, Trial};
use crate::{
    Key, Target,
    store::{Acquired, Filled, LeaseId, Purpose},
};

pub(super) async fn a_value_stays_readable_while_it_is_refreshed(t: &Trial<'_>) {
    let key = t.key("a").tag(t.tag("x"));
    let old = t.put(&key, "old").await;
    let lease = t.refresh(&key, old, LONG).await;
    t.check(t.expect_hit(&key, "old", "while it is refreshed").await == old, "the value keeps its name");
    match t.acquire(&key, Purpose::Load { unreadable: None }, LONG).await {
        Acquired::Value(stored) => t.check(stored.id == old, "a load gets the value while it is refreshed"),
        other => panic!("expected the value that is being refreshed, got {other:?}"),
    }
    t.check(t.fill(&key, &lease, "new", LONG).await == Filled::Stored, "the refreshed value is stored");
    t.check(t.expect_hit(&key, "new", "after the refresh").await == lease.id, "the new value has its lease's name");
    t.fill(&key, &lease, "repeated", LONG).await;
    t.expect_hit(&key, "new", "after a repeated refresh").await;
    let again = t.refresh(&key, lease.id, LONG).await;
    t.check(t.fill(&key, &again, "newer", LONG).await == Filled::Stored, "a refreshed value can be refreshed");
    t.expect_hit(&key, "newer", "after the second refresh").await;
}

pub(super) async fn a_second_refresh_waits_for_the_first(t: &Trial<'_>) {
    let key = t.key("a");
    let old = t.put(&key, "old").await;
    let lease = t.refresh(&key, old, LONG).await;
    t.expect_wait(&key, Purpose::Refresh(old), lease.id, "while somebody refreshes").await;
    t.check(t.fill(&key, &lease, "new", LONG).await == Filled::Stored, "who asked in vain does not disturb the lease");
}

pub(super) async fn only_the_value_that_is_there_is_refreshed(t: &Trial<'_>) {
    let key = t.key("a");
    let nobody = LeaseId([b'n'; 32]);
    t.expect_gone(&key, nobody, "nothing is there").await;
    let lease = t.lease(&key, LONG).await;
    t.expect_gone(&key, nobody, "only a lease is there").await;
    t.expect_gone(&key, lease.id, "the lease has not been filled").await;
    t.fill(&key, &lease, "value", SHORT).await;
    t.expect_gone(&key, nobody, "another value is there").await;
    t.expect_hit(&key, "value", "asking to refresh another value disturbs nothing").await;
    t.pass(SHORT).await;
    t.expect_gone(&key, lease.id, "the value has expired").await;
}

pub(super) async fn a_refresh_is_refused_after_its_entry_was_invalidated(t: &Trial<'_>) {
    refused_after(t, Key::into_entry).await;
}

pub(super) async fn a_refresh_is_refused_after_its_node_was_invalidated(t: &Trial<'_>) {
    refused_after(t, |_| t.root().into_node()).await;
    refused_after(t, |_| t.root().arg("a").into_node()).await;
    refused_after(t, Key::into_node).await;
}

pub(super) async fn a_refresh_is_refused_after_its_tag_was_invalidated(t: &Trial<'_>) {
    refused_after(t, |_| Target::Tag(t.tag("x"))).await;
}

pub(super) async fn a_refresh_is_refused_after_a_glob(t: &Trial<'_>) {
    refused_after(t, |_| t.glob(":*")).await;
}

pub(super) async fn a_refresh_is_refused_after_everything_was_invalidated(t: &Trial<'_>) {
    refused_after(t, |_| Target::All).await;
}

async fn refused_after(t: &Trial<'_>, target: impl Fn(Key) -> Target) {
    let key = t.key("a").tag(t.tag("x"));
    let target = target(key.clone());
    let old = t.put(&key, "old").await;
    let lease = t.refresh(&key, old, LONG).await;
    t.invalidate(std::slice::from_ref(&target)).await;
    t.expect_miss(&key, None, &format!("after the invalidation of {target}")).await;
    t.expect_gone(&key, old, &format!("after the invalidation of {target}")).await;
    t.expect_refused(&key, &lease, &format!("a refresh that began before the invalidation of {target}")).await;
    let next = t.put(&key, "next").await;
    t.expect_refused(&key, &lease, &format!("a refresh from before {target}, beside the next value")).await;
    t.check(t.expect_hit(&key, "next", "the next value stays").await == next, "the next value keeps its name");
    t.invalidate(&[target]).await;
}

pub(super) async fn a_refresh_replaces_exactly_its_value(t: &Trial<'_>) {
    let key = t.key("a");
    let old = t.put(&key, "old").await;
    let lease = t.refresh(&key, old, LONG).await;
    let Acquired::Lease(load) = t.acquire(&key, Purpose::Load { unreadable: Some(old) }, LONG).await else {
        panic!("expected a lease in the place of an unreadable value");
    };
    t.expect_refused(&key, &lease, "a refresh while another load has taken its value's place").await;
    t.check(t.fill(&key, &load, "new", LONG).await == Filled::Stored, "the load stores its value");
    t.expect_refused(&key, &lease, "a refresh of a value that was replaced").await;
    t.release(&key, &lease).await;
    t.expect_hit(&key, "new", "the value that replaced it stays").await;
    t.refresh(&key, load.id, LONG).await;
}

pub(super) async fn a_released_refresh_leaves_the_value_and_frees_the_turn(t: &Trial<'_>) {
    let key = t.key("a");
    let old = t.put(&key, "old").await;
    let first = t.refresh(&key, old, LONG).await;
    t.release(&key, &first).await;
    t.expect_hit(&key, "old", "after the refresh was given up").await;
    t.expect_refused(&key, &first, "a released refresh lease stores nothing").await;
    let second = t.refresh(&key, old, LONG).await;
    t.release(&key, &first).await;
    t.expect_wait(&key, Purpose::Refresh(old), second.id, "another's release leaves the second refresh alone").await;
    t.check(t.fill(&key, &second, "new", LONG).await == Filled::Stored, "the second refresh stores its value");
}

pub(super) async fn a_lapsed_refresh_stores_nothing_and_frees_the_turn(t: &Trial<'_>) {
    let key = t.key("a");
    let old = t.put(&key, "old").await;
    let first = t.refresh(&key, old, SHORT).await;
    t.pass(SHORT).await;
    t.expect_refused(&key, &first, "a lapsed refresh lease stores nothing").await;
    t.expect_hit(&key, "old", "the value outlives the refresh lease").await;
    let second = t.refresh(&key, old, LONG).await;
    t.check(t.fill(&key, &second, "new", LONG).await == Filled::Stored, "the next refresh stores its value");
}

pub(super) async fn a_renewed_refresh_outlives_its_first_term(t: &Trial<'_>) {
    let key = t.key("a");
    let old = t.put(&key, "old").await;
    let lease = t.refresh(&key, old, SHORT).await;
    t.check(t.renew(&key, &lease, LONG).await, "a refresh lease that stands is renewed");
    t.pass(SHORT).await;
    t.expect_wait(&key, Purpose::Refresh(old), lease.id, "a renewed refresh lease still stands").await;
    t.check(t.fill(&key, &lease, "new", LONG).await == Filled::Stored, "a renewed refresh lease is good");
    t.expect_hit(&key, "new", "a renewed refresh lease is good").await;
}

pub(super) async fn a_refresh_that_is_gone_is_not_renewed(t: &Trial<'_>) {
    let key = t.key("a");
    let old = t.put(&key, "old").await;
    let released = t.refresh(&key, old, LONG).await;
    t.release(&key, &released).await;
    t.check(!t.renew(&key, &released, LONG).await, "a released refresh lease is gone");
    let lapsed = t.refresh(&key, old, SHORT).await;
    t.pass(SHORT).await;
    t.check(!t.renew(&key, &lapsed, LONG).await, "a lapsed refresh lease is gone");
    let filled = t.refresh(&key, old, LONG).await;
    t.fill(&key, &filled, "new", LONG).await;
    t.check(!t.renew(&key, &filled, LONG).await, "a refresh lease is gone once it was filled");
    t.expect_hit(&key, "new", "renewing does not disturb a value").await;
}
