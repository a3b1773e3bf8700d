//! What is quarantined is neither served nor stored until its last holder is gone, and then nothing of before is left.

use super::trial::{LOAD, LONG, SHORT, Trial};
use crate::{
    Key, Outcome, Target,
    store::{Acquired, Filled, HolderId, NotHoldable, Purpose, Read, StoreError},
};

/// A key, and each kind of target that covers it.
fn covered(t: &Trial<'_>) -> (Key, Vec<Target>) {
    let key = t.key("a").tag(t.tag("x"));
    let above = [key.clone().into_entry(), key.clone().into_node(), t.root().arg("a").into_node()];
    let targets = above.into_iter().chain([t.root().into_node(), Target::Tag(t.tag("x"))]).collect();
    (key, targets)
}

pub(super) async fn a_hold_keeps_fills_out(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in targets {
        let (targets, holder) = ([target], HolderId::new());
        let target = &targets[0];
        let id = t.put(&key, "old").await;
        t.hold(&targets, holder, LONG).await;
        t.expect_held(&key, &format!("while {target} is held")).await;
        match t.acquire(&key, Purpose::Refresh(id), LONG).await {
            Acquired::Held | Acquired::Gone => {}
            other => panic!("nothing is refreshed while {target} is held, got {other:?}"),
        }
        t.release_hold(&targets, holder).await;
        t.expect_miss(&key, None, &format!("after {target} was released")).await;
        t.put(&key, "new").await;
        t.expect_hit(&key, "new", &format!("what was loaded after {target} was released")).await;
        t.invalidate(&[key.clone().into_entry()]).await;
    }
}

pub(super) async fn a_lease_from_before_a_hold_is_refused(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in targets {
        let (targets, holder) = ([target], HolderId::new());
        let target = &targets[0];
        let old = t.lease(&key, LONG).await;
        t.hold(&targets, holder, LONG).await;
        t.expect_refused(&key, &old, &format!("a fill while {target} is held")).await;
        t.release_hold(&targets, holder).await;
        t.expect_refused(&key, &old, &format!("the fill of a load from before the hold of {target}")).await;
        t.expect_miss(&key, None, &format!("after {target} was released")).await;
        let new = t.lease(&key, LONG).await;
        t.check(t.fill(&key, &new, "new", LONG).await == Filled::Stored, "a load after the release stores");
        t.invalidate(&[key.clone().into_entry()]).await;
    }
}

pub(super) async fn a_refresh_from_before_a_hold_is_refused(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in targets {
        let (targets, holder) = ([target], HolderId::new());
        let id = t.put(&key, "old").await;
        let refresh = t.refresh(&key, id, LONG).await;
        t.hold(&targets, holder, LONG).await;
        t.expect_refused(&key, &refresh, &format!("a refresh while {} is held", targets[0])).await;
        t.release_hold(&targets, holder).await;
        t.expect_refused(&key, &refresh, &format!("a refresh from before the hold of {}", targets[0])).await;
        t.expect_miss(&key, None, "after the release").await;
    }
}

pub(super) async fn a_hold_covers_its_target_and_nothing_else(t: &Trial<'_>) {
    let node = t.root().arg(&7);
    let tagged = |name: &str, tag: &str| t.key(name).tag(t.tag(tag));
    let root = t.root();
    let cases = [
        (
            node.clone().into_node(),
            vec![node.clone(), node.clone().arg(&1), node.clone().arg(&2).arg(&3)],
            vec![root.clone(), root.clone().arg(&70), root.clone().arg(&70).arg(&1), root.clone().arg("7:1")],
        ),
        (
            node.clone().into_entry(),
            vec![node.clone()],
            vec![root.clone(), root.clone().arg(&70), node.clone().arg(&1)],
        ),
        (
            Target::Tag(t.tag("7")),
            vec![tagged("a", "7"), tagged("b", "70").tag(t.tag("7"))],
            vec![tagged("c", "70"), t.key("d"), t.key("7")],
        ),
    ];
    for (target, covered, spared) in cases {
        let (targets, holder) = ([target], HolderId::new());
        for key in &spared {
            t.put(key, "value").await;
        }
        t.hold(&targets, holder, LONG).await;
        for key in &covered {
            t.expect_held(key, &format!("the hold of {} covers {key}", targets[0])).await;
        }
        for key in &spared {
            t.expect_hit(key, "value", &format!("the hold of {} does not cover {key}", targets[0])).await;
            t.invalidate(&[key.clone().into_entry()]).await;
            t.put(key, "value").await;
            t.invalidate(&[key.clone().into_entry()]).await;
        }
        t.release_hold(&targets, holder).await;
        for key in &covered {
            t.expect_miss(key, None, &format!("after the release of {}", targets[0])).await;
        }
    }
}

pub(super) async fn a_target_is_free_when_all_holders_have_released_it(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in targets {
        let targets = [target];
        let holders = [HolderId::new(), HolderId::new(), HolderId::new()];
        for holder in holders {
            t.hold(&targets, holder, LONG).await;
        }
        // In another order than they came in.
        for at in [2, 0, 1] {
            t.expect_held(&key, &format!("while holders of {} are left", targets[0])).await;
            t.release_hold(&targets, holders[at]).await;
            // Once more, as after an answer that was lost.
            t.release_hold(&targets, holders[at]).await;
        }
        t.expect_miss(&key, None, "after the last release").await;
        t.put(&key, "new").await;
        t.invalidate(&[key.clone().into_entry()]).await;
    }
}

pub(super) async fn a_hold_that_has_lapsed_is_like_one_that_was_released(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in targets {
        let targets = [target];
        let old = t.lease(&key, LONG).await;
        t.hold(&targets, HolderId::new(), SHORT).await;
        t.pass(SHORT).await;
        t.expect_refused(&key, &old, "the fill of a load from before a hold that has lapsed").await;
        t.expect_miss(&key, None, &format!("after the hold of {} has lapsed", targets[0])).await;
        t.put(&key, "new").await;
        t.expect_hit(&key, "new", "what was loaded after a lapse").await;
        t.invalidate(&[key.clone().into_entry()]).await;
    }
}

pub(super) async fn each_holder_lapses_by_itself(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in targets {
        let targets = [target];
        let (brief, lasting) = (HolderId::new(), HolderId::new());
        t.hold(&targets, lasting, LONG).await;
        t.hold(&targets, brief, SHORT).await;
        t.pass(SHORT).await;
        t.expect_held(&key, "while another holder's term runs").await;
        t.release_hold(&targets, lasting).await;
        t.expect_miss(&key, None, "after one has released and the other lapsed").await;
        t.hold(&targets, brief, SHORT).await;
        t.hold(&targets, lasting, LONG).await;
        t.release_hold(&targets, lasting).await;
        t.expect_held(&key, "while the shorter term runs").await;
        t.pass(SHORT).await;
        t.expect_miss(&key, None, "the longer term went with its holder").await;
    }
}

pub(super) async fn a_hold_is_prolonged_and_never_shortened(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in targets {
        let (targets, holder) = ([target], HolderId::new());
        t.hold(&targets, holder, SHORT).await;
        t.hold(&targets, holder, LONG).await;
        t.hold(&targets, holder, SHORT).await;
        t.pass(SHORT).await;
        t.expect_held(&key, "after the first term of a hold that was prolonged").await;
        t.release_hold(&targets, holder).await;
        t.expect_miss(&key, None, "one release ends all terms").await;
    }
}

pub(super) async fn a_release_invalidates(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in targets {
        let (targets, holder) = ([target], HolderId::new());
        t.hold(&targets, holder, SHORT).await;
        t.pass(SHORT).await;
        // Loaded after the lapse and before the release, so perhaps before what was written.
        t.put(&key, "old").await;
        t.release_hold(&targets, holder).await;
        t.expect_miss(&key, None, &format!("the release of {} invalidates after a lapse", targets[0])).await;

        let old = t.lease(&key, LONG).await;
        t.release_hold(&targets, HolderId::new()).await;
        t.expect_refused(&key, &old, &format!("who never held {} invalidates it all the same", targets[0])).await;
    }
    t.put(&key, "old").await;
    t.release_hold(&[t.glob("*")], HolderId::new()).await;
    t.expect_miss(&key, None, "a glob cannot be held, and is invalidated all the same").await;
}

pub(super) async fn an_invalidation_ends_no_hold(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in &targets {
        let (held, holder) = ([target.clone()], HolderId::new());
        t.hold(&held, holder, LONG).await;
        for other in targets.iter().chain([&t.glob("*")]) {
            t.invalidate(std::slice::from_ref(other)).await;
            t.expect_held(&key, &format!("{target} is held while {other} is invalidated")).await;
        }
        t.release_hold(&held, HolderId::new()).await;
        t.expect_held(&key, "the release of a stranger ends no hold").await;
        t.release_hold(&held, holder).await;
        t.expect_miss(&key, None, "after the holder's own release").await;
    }
}

pub(super) async fn a_hold_outlives_an_invalidation_of_everything(t: &Trial<'_>) {
    let (key, targets) = covered(t);
    for target in targets {
        let (targets, holder) = ([target], HolderId::new());
        t.hold(&targets, holder, LONG).await;
        t.invalidate(&[Target::All]).await;
        t.expect_held(&key, &format!("{} is held while everything is invalidated", targets[0])).await;
        t.release_hold(&targets, holder).await;
        t.expect_miss(&key, None, "after the release").await;
    }
}

pub(super) async fn many_targets_are_held_at_once(t: &Trial<'_>) {
    let keys: Vec<_> = (0..32).map(|number| t.root().arg(&number).arg(&1)).collect();
    let target = |(number, key): (usize, &Key)| match number % 2 {
        0 => key.clone().into_entry(),
        _ => t.root().arg(&number).into_node(),
    };
    let (targets, holder): (Vec<_>, _) = (keys.iter().enumerate().map(target).collect(), HolderId::new());
    let spared = t.root().arg("spared");
    for key in keys.iter().chain([&spared]) {
        t.put(key, "old").await;
    }
    t.hold(&[], holder, LONG).await;
    t.hold(&targets, holder, LONG).await;
    for key in &keys {
        t.expect_held(key, "one of many targets").await;
    }
    t.release_hold(&targets, holder).await;
    for key in &keys {
        t.expect_miss(key, None, "one of many targets that were released").await;
    }
    t.expect_hit(&spared, "old", "none of many targets").await;
}

pub(super) async fn globs_and_everything_cannot_be_held(t: &Trial<'_>) {
    let key = t.key("a");
    t.put(&key, "value").await;
    for target in [t.glob("*"), Target::All] {
        let targets = [key.clone().into_entry(), target];
        match t.store.hold(&targets, HolderId::new(), LONG).await {
            Err(StoreError::Failed(error)) if error.is::<NotHoldable>() => {}
            other => panic!("{} cannot be held, got {other:?}", targets[1]),
        }
        t.expect_hit(&key, "value", "nothing is held where one target cannot be").await;
    }
}

impl Trial<'_> {
    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: std::time::Duration) {
        self.store.hold(targets, holder, lasts).await.expect("a hold is answered");
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) {
        let outcome = self.store.release_hold(targets, holder).await.expect("a release is answered");
        self.check(outcome == Outcome::Applied, "a release in a store within reach is applied");
    }

    async fn expect_held(&self, key: &Key, why: &str) {
        if let Some(read @ (Read::Hit(_) | Read::Miss { .. })) = self.store.read_now(key) {
            panic!("{why}: held also for who does not wait, read {read:?}");
        }
        match self.read(key).await {
            Read::Held => {}
            other => panic!("{why}: expected a quarantine, read {other:?}"),
        }
        match self.acquire(key, LOAD, LONG).await {
            Acquired::Held => {}
            other => panic!("{why}: expected a quarantine, got {other:?}"),
        }
    }
}
