//! A value is stored only under a lease, and a lease is good once, for one key and for a time.

use std::collections::HashSet;

use super::trial::{LOAD, LONG, SHORT, Trial, bytes_of};
use crate::store::{Acquired, Filled, Lease, LeaseId};

pub(super) async fn a_key_that_was_never_filled_is_a_miss(t: &Trial<'_>) {
    t.expect_miss(&t.key("a"), None, "nothing was stored").await;
    t.expect_miss(&t.root(), None, "nothing was stored at a key without arguments").await;
}

pub(super) async fn a_value_is_stored_under_a_lease_and_read(t: &Trial<'_>) {
    for key in [t.root(), t.root().arg(&1), t.key("a"), t.key("b").tag(t.tag("x")).tag(t.tag("y"))] {
        let lease = t.lease(&key, LONG).await;
        t.expect_miss(&key, Some(lease.id), "before the fill").await;
        t.check(t.fill(&key, &lease, "value", LONG).await == Filled::Stored, "a fill under a good lease is stored");
        let id = t.expect_hit(&key, "value", "what was stored is read").await;
        t.check(id == lease.id, "a value has the name of its lease");
    }
}

pub(super) async fn a_second_load_waits_for_the_first(t: &Trial<'_>) {
    let key = t.key("a");
    let lease = t.lease(&key, LONG).await;
    t.expect_wait(&key, LOAD, lease.id, "while somebody loads").await;
    t.expect_miss(&key, Some(lease.id), "while somebody loads").await;
    t.check(
        t.fill(&key, &lease, "value", LONG).await == Filled::Stored,
        "who asked in vain does not disturb the lease",
    );
}

pub(super) async fn a_late_load_gets_the_value_that_was_stored_meanwhile(t: &Trial<'_>) {
    let key = t.key("a");
    let id = t.put(&key, "value").await;
    match t.acquire(&key, LOAD, LONG).await {
        Acquired::Value(stored) => {
            t.check(stored.id == id && bytes_of(&stored) == b"value", "the value that stands there is handed over");
        }
        other => panic!("expected the value that was stored, got {other:?}"),
    }
    t.expect_hit(&key, "value", "asking for a lease does not disturb the value").await;
}

pub(super) async fn a_lease_is_good_for_one_fill(t: &Trial<'_>) {
    let key = t.key("a");
    let lease = t.lease(&key, LONG).await;
    t.check(t.fill(&key, &lease, "first", LONG).await == Filled::Stored, "a fill under a good lease is stored");
    // A store may tell a fill that was sent again that it had worked: what counts is what stands there.
    t.fill(&key, &lease, "second", LONG).await;
    t.expect_hit(&key, "first", "a repeated fill changes nothing").await;
    t.invalidate(&[key.clone().into_entry()]).await;
    t.expect_refused(&key, &lease, "a fill that is repeated after an invalidation is refused").await;
    t.expect_miss(&key, None, "a fill that is repeated after an invalidation stores nothing").await;
}

pub(super) async fn a_lease_is_good_for_its_own_key_only(t: &Trial<'_>) {
    let (one, other) = (t.key("a"), t.key("b"));
    let lease = t.lease(&one, LONG).await;
    t.expect_refused(&other, &lease, "another key's lease stores nothing").await;
    let others = t.lease(&other, LONG).await;
    t.expect_refused(&other, &lease, "another key's lease stores nothing where a lease stands").await;
    t.check(t.fill(&other, &others, "value", LONG).await == Filled::Stored, "the right lease is still good");
}

pub(super) async fn a_forged_lease_stores_nothing(t: &Trial<'_>) {
    let key = t.key("a");
    let forged = Lease { id: LeaseId([b'f'; 32]), stamp: [b'f'; 32], replaces: None };
    t.expect_refused(&key, &forged, "a lease that was never granted stores nothing").await;
    let lease = t.lease(&key, LONG).await;
    let near = Lease { id: forged.id, ..lease.clone() };
    t.expect_refused(&key, &near, "a lease of another name stores nothing").await;
    t.check(!t.renew(&key, &near, LONG).await, "a lease of another name is not renewed");
    t.release(&key, &near).await;
    t.check(t.fill(&key, &lease, "value", LONG).await == Filled::Stored, "the right lease is still good");
}

pub(super) async fn a_released_lease_stores_nothing_and_frees_the_key(t: &Trial<'_>) {
    let key = t.key("a");
    let lease = t.lease(&key, LONG).await;
    t.release(&key, &lease).await;
    t.expect_miss(&key, None, "after the release").await;
    t.expect_refused(&key, &lease, "a released lease stores nothing").await;
    t.put(&key, "next").await;
    t.expect_hit(&key, "next", "the next load stores its value").await;
}

pub(super) async fn releasing_a_lease_that_is_gone_leaves_the_next_one_alone(t: &Trial<'_>) {
    let key = t.key("a");
    let old = t.lease(&key, LONG).await;
    t.invalidate(&[key.clone().into_entry()]).await;
    let new = t.lease(&key, LONG).await;
    t.release(&key, &old).await;
    t.expect_wait(&key, LOAD, new.id, "the next lease still stands").await;
    t.check(t.fill(&key, &new, "value", LONG).await == Filled::Stored, "the next lease is still good");
    t.release(&key, &old).await;
    t.release(&key, &new).await;
    t.expect_hit(&key, "value", "releasing a lease does not remove a value").await;
}

pub(super) async fn a_lapsed_lease_stores_nothing_and_frees_the_key(t: &Trial<'_>) {
    let (key, alone) = (t.key("a"), t.key("b"));
    let old = t.lease(&key, SHORT).await;
    let unwatched = t.lease(&alone, SHORT).await;
    t.pass(SHORT).await;
    t.expect_refused(&alone, &unwatched, "a lapsed lease stores nothing, even if nobody came after it").await;
    t.expect_miss(&key, None, "a lapsed lease is not reported").await;
    let new = t.lease(&key, LONG).await;
    t.expect_refused(&key, &old, "a lapsed lease stores nothing beside its successor").await;
    t.check(t.fill(&key, &new, "value", LONG).await == Filled::Stored, "the successor is good");
}

pub(super) async fn a_renewed_lease_outlives_its_first_term(t: &Trial<'_>) {
    let key = t.key("a");
    let lease = t.lease(&key, SHORT).await;
    t.check(t.renew(&key, &lease, LONG).await, "a lease that stands is renewed");
    t.pass(SHORT).await;
    t.expect_wait(&key, LOAD, lease.id, "a renewed lease still stands").await;
    t.check(t.fill(&key, &lease, "value", LONG).await == Filled::Stored, "a renewed lease is good");
}

pub(super) async fn a_lease_that_is_gone_is_not_renewed(t: &Trial<'_>) {
    let mut gone = Vec::new();
    for name in ["lapsed", "released", "filled", "entry", "glob"] {
        let lasts = if name == "lapsed" { SHORT } else { LONG };
        gone.push((t.lease(&t.key(name), lasts).await, t.key(name)));
    }
    t.pass(SHORT).await;
    t.release(&gone[1].1, &gone[1].0).await;
    t.fill(&gone[2].1, &gone[2].0, "value", LONG).await;
    t.invalidate(&[t.key("entry").into_entry(), t.glob(":glob:*")]).await;
    for (lease, key) in &gone {
        t.check(!t.renew(key, lease, LONG).await, &format!("the lease of {key} is gone and cannot be renewed"));
    }
    t.expect_hit(&gone[2].1, "value", "renewing does not disturb a value").await;
}

pub(super) async fn leases_are_never_named_alike(t: &Trial<'_>) {
    let mut names = HashSet::new();
    for round in 0..40 {
        let key = t.key(["a", "b"][round % 2]);
        let lease = t.lease(&key, LONG).await;
        t.release(&key, &lease).await;
        t.check(names.insert(lease.id), "no name of a lease comes twice");
    }
}
