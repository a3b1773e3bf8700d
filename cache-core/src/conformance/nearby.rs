//! Values in the memory of an instance: whether they still hold, and the feed of what is invalidated.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use super::trial::{LONG, SHORT, Trial};
use crate::{
    Key, Target,
    codec::Meta,
    store::{Filled, HolderId, LeaseId, Nearby, Payload, Stored},
};

/// Whatever the size: a store may ask in another way for what is small.
async fn holds(t: &Trial<'_>, key: &Key, id: LeaseId) -> bool {
    let mut answers = Vec::new();
    for weight in [0, 1 << 20] {
        let payload = Payload::Object { value: Arc::new(()), meta: Meta::default(), weight };
        let known = Stored { id, payload };
        answers.push(t.store.still_holds(key, &known).await.expect("the question is answered"));
    }
    t.check(answers[0] == answers[1], "a small value holds as a large one does");
    answers[0]
}

pub(super) async fn a_value_holds_until_it_is_invalidated(t: &Trial<'_>) {
    let key = t.key("a").tag(t.tag("x"));
    let above = [key.clone().into_entry(), key.clone().into_node(), t.root().arg("a").into_node()];
    for target in above.into_iter().chain([t.root().into_node(), Target::Tag(t.tag("x")), t.glob(":a:*")]) {
        let id = t.put(&key, "value").await;
        t.check(holds(t, &key, id).await, "what was stored holds");
        t.invalidate(std::slice::from_ref(&target)).await;
        t.check(!holds(t, &key, id).await, &format!("after {target} was invalidated it does not"));
    }
}

pub(super) async fn only_the_value_that_is_known_holds(t: &Trial<'_>) {
    let (key, other) = (t.key("a"), t.key("b"));
    let lease = t.lease(&key, LONG).await;
    t.check(!holds(t, &key, lease.id).await, "a load that runs is no value");
    t.check(t.fill(&key, &lease, "old", LONG).await == Filled::Stored, "it is stored");
    t.put(&other, "other").await;
    t.check(!holds(t, &other, lease.id).await, "a value holds under its own key only");
    t.check(!holds(t, &t.key("c"), lease.id).await, "where nothing is nothing holds");
    let refresh = t.refresh(&key, lease.id, LONG).await;
    t.check(holds(t, &key, lease.id).await, "a value holds while it is refreshed");
    t.check(t.fill(&key, &refresh, "new", LONG).await == Filled::Stored, "it is replaced");
    t.check(!holds(t, &key, lease.id).await, "what was replaced does not hold");
    t.check(holds(t, &key, refresh.id).await, "what replaced it holds");
}

pub(super) async fn a_value_holds_under_its_own_tags_only(t: &Trial<'_>) {
    let plain = t.key("a");
    let (one, other) = (plain.clone().tag(t.tag("1")), plain.clone().tag(t.tag("2")));
    let id = t.put(&one, "value").await;
    t.check(!holds(t, &other, id).await, "a value without this tag would outlive the tag's invalidation");
    t.check(holds(t, &one, id).await, "it holds under its own");
}

pub(super) async fn nothing_holds_that_is_held_or_expired(t: &Trial<'_>) {
    let key = t.key("a").tag(t.tag("x"));
    for target in [key.clone().into_entry(), t.root().arg("a").into_node(), Target::Tag(t.tag("x"))] {
        let (targets, holder, id) = ([target], HolderId::new(), t.put(&key, "value").await);
        t.store.hold(&targets, holder, LONG).await.expect("it can be held");
        t.check(!holds(t, &key, id).await, "what is quarantined does not hold");
        t.store.release_hold(&targets, holder).await.expect("it is released");
        t.check(!holds(t, &key, id).await, "nor after the release");
    }
    let brief = t.key("brief");
    let lease = t.lease(&brief, LONG).await;
    t.check(t.fill(&brief, &lease, "value", SHORT).await == Filled::Stored, "a value of a short life is stored");
    t.pass(SHORT).await;
    t.check(!holds(t, &brief, lease.id).await, "what has expired does not hold");
}

/// Notes what it is told.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<Target>>);

impl Notes {
    fn targets(&self) -> MutexGuard<'_, Vec<Target>> {
        self.0.lock().expect("nobody panics while it notes")
    }
}

impl Nearby for Notes {
    fn invalidate(&self, targets: &[Target]) {
        self.targets().extend_from_slice(targets);
    }

    fn empty(&self) {}

    fn may_serve_until(&self, until: Instant) {
        assert!(until < Instant::now() + Duration::from_secs(60), "a lease is short");
    }
}

pub(super) async fn who_keeps_values_is_told_before_an_invalidation_returns(t: &Trial<'_>) {
    let notes = Arc::new(Notes::default());
    if !t.store.feed(Arc::clone(&notes) as Arc<dyn Nearby>) {
        return;
    }
    let key = t.key("a");
    let targets = [key.clone().into_entry(), t.root().into_node(), Target::Tag(t.tag("x")), t.glob(":*"), Target::All];
    for target in targets {
        t.invalidate(std::slice::from_ref(&target)).await;
        t.check(notes.targets().contains(&target), &format!("{target} was told before it returned"));
    }
    let (held, holder) = ([t.key("b").into_entry()], HolderId::new());
    t.store.hold(&held, holder, LONG).await.expect("it can be held");
    t.check(notes.targets().contains(&held[0]), "so is what is quarantined");
    notes.targets().clear();
    t.store.release_hold(&held, holder).await.expect("it is released");
    t.check(notes.targets().contains(&held[0]), "and what is released");
}
