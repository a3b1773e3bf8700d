//! After an invalidation has returned, nothing that was loaded before it is served or stored.

use super::trial::{LOAD, LONG, Trial};
use crate::{
    Key, Target,
    store::{Acquired, Filled},
};

pub(super) async fn invalidating_an_entry_holds(t: &Trial<'_>) {
    holds(t, t.key("a"), t.key("a").into_entry()).await;
    holds(t, t.root(), t.root().into_entry()).await;
}

pub(super) async fn invalidating_a_node_above_holds(t: &Trial<'_>) {
    holds(t, t.key("a"), t.root().arg("a").into_node()).await;
    holds(t, t.key("b").arg(&2).arg(&3), t.key("b").into_node()).await;
}

pub(super) async fn invalidating_the_outermost_node_holds(t: &Trial<'_>) {
    holds(t, t.key("a"), t.root().into_node()).await;
}

pub(super) async fn invalidating_the_node_at_the_entry_holds(t: &Trial<'_>) {
    holds(t, t.key("a"), t.key("a").into_node()).await;
}

pub(super) async fn invalidating_a_node_holds_for_a_key_without_arguments(t: &Trial<'_>) {
    holds(t, t.root(), t.root().into_node()).await;
}

pub(super) async fn invalidating_a_tag_holds(t: &Trial<'_>) {
    holds(t, t.key("a").tag(t.tag("x")), Target::Tag(t.tag("x"))).await;
    holds(t, t.root().tag(t.tag("y")), Target::Tag(t.tag("y"))).await;
}

pub(super) async fn invalidating_any_of_several_tags_holds(t: &Trial<'_>) {
    for name in ["x", "y", "z"] {
        let key = t.key("a").tag(t.tag("x")).tag(t.tag("y")).tag(t.tag("z"));
        holds(t, key, Target::Tag(t.tag(name))).await;
    }
}

pub(super) async fn invalidating_a_glob_holds(t: &Trial<'_>) {
    for rest in ["*", ":*", ":a:*", ":a:1", ":?:1", ":[a-c]:[^2]", ":\\a:*"] {
        holds(t, t.key("a"), t.glob(rest)).await;
    }
    holds(t, t.root(), t.glob("")).await;
}

pub(super) async fn invalidating_everything_holds(t: &Trial<'_>) {
    holds(t, t.key("a"), Target::All).await;
    holds(t, t.root(), Target::All).await;
    holds(t, t.key("b").tag(t.tag("x")), Target::All).await;
}

/// The rule itself, for a value that stands there and for a load in flight.
async fn holds(t: &Trial<'_>, key: Key, target: Target) {
    let targets = [target];
    let target = &targets[0];
    t.put(&key, "old").await;
    t.invalidate(&targets).await;
    t.expect_miss(&key, None, &format!("a value that stood there at the invalidation of {target}")).await;

    let old = t.lease(&key, LONG).await;
    t.invalidate(&targets).await;
    t.expect_miss(&key, None, &format!("a load that ran at the invalidation of {target}")).await;
    t.expect_refused(&key, &old, &format!("the fill of a load that began before the invalidation of {target}")).await;
    t.expect_miss(&key, None, &format!("after a fill that came too late for {target}")).await;

    // A new load need not wait for the old one, and the old one does not get in its way.
    let older = t.lease(&key, LONG).await;
    t.invalidate(&targets).await;
    let new = t.lease(&key, LONG).await;
    t.expect_refused(&key, &older, &format!("a fill from before {target} beside a newer lease")).await;
    t.release(&key, &older).await;
    t.check(t.fill(&key, &new, "new", LONG).await == Filled::Stored, "a load that began after an invalidation stores");
    t.expect_refused(&key, &older, &format!("a fill from before {target} over a newer value")).await;
    t.expect_hit(&key, "new", "what was loaded after an invalidation is served").await;

    t.invalidate(&targets).await;
    t.invalidate(&targets).await;
    t.expect_miss(&key, None, &format!("after {target} was invalidated twice")).await;
}

pub(super) async fn an_entry_is_invalidated_alone(t: &Trial<'_>) {
    let root = t.root();
    let spared = [
        root.clone(),
        root.clone().arg(&70),
        root.clone().arg(&7).arg(&1),
        root.clone().arg(&7).arg(&1).arg(&1),
        root.clone().arg("7:"),
    ];
    covers(t, &[root.clone().arg(&7)], &spared, root.arg(&7).into_entry()).await;
    covers(t, &[t.root()], &[t.root().arg(&1), t.key("a")], t.root().into_entry()).await;
}

pub(super) async fn a_node_covers_what_is_below_it_and_nothing_else(t: &Trial<'_>) {
    let node = t.root().arg(&7);
    let covered = [
        node.clone(),
        node.clone().arg(&1),
        node.clone().arg(&2).arg(&3).arg(&4),
        node.clone().arg("a:b").tag(t.tag("x")),
        node.clone().arg(""),
    ];
    let root = t.root();
    let spared = [
        root.clone(),
        root.clone().arg(&70),
        root.clone().arg(&70).arg(&1),
        root.clone().arg(&1).arg(&7),
        root.clone().arg("7:1"),
        root.clone().arg(&6),
    ];
    covers(t, &covered, &spared, node.into_node()).await;
}

pub(super) async fn a_tag_covers_what_carries_it_and_nothing_else(t: &Trial<'_>) {
    let key = |name: &str, tag: &str| t.key(name).tag(t.tag(tag));
    let covered = [key("a", "7"), key("b", "7").tag(t.tag("70")), key("c", "8").tag(t.tag("7"))];
    let spared = [key("d", "70"), key("e", "8"), t.key("7"), key("f", "7:1")];
    covers(t, &covered, &spared, Target::Tag(t.tag("7"))).await;
    // A tag is not a node, even where they are written alike.
    let node = Key::new(t.prefix()).arg("n");
    let tagged = t.key("g").tag(t.tag("n"));
    covers(t, std::slice::from_ref(&node), std::slice::from_ref(&tagged), node.clone().into_node()).await;
    covers(t, &[tagged], &[node], Target::Tag(t.tag("n"))).await;
}

pub(super) async fn a_glob_covers_what_matches_and_nothing_else(t: &Trial<'_>) {
    let root = t.root();
    let (seven, seventy, outer) = (root.clone().arg(&7).arg(&1), root.clone().arg(&70).arg(&1), root.clone());
    let (escaped, star) = (root.clone().arg("7:1"), root.clone().arg("7*"));
    let keys = [&seven, &seventy, &outer, &escaped, &star];
    for (rest, matches) in [
        (":7:*", vec![&seven]),
        (":7*", vec![&seven, &seventy, &escaped, &star]),
        (":7?:1", vec![&seventy]),
        (":7[^:]:*", vec![&seventy]),
        (":7[0-9]:[1-1]", vec![&seventy]),
        (":7%*", vec![&escaped, &star]),
        (":7\\*", vec![]),
        (":7:", vec![]),
        ("", vec![&outer]),
        (":*", vec![&seven, &seventy, &escaped, &star]),
    ] {
        let (covered, spared): (Vec<_>, Vec<_>) = keys.into_iter().cloned().partition(|key| matches.contains(&key));
        covers(t, &covered, &spared, t.glob(rest)).await;
    }
}

/// Exactly these are hit: values, and loads in flight.
async fn covers(t: &Trial<'_>, covered: &[Key], spared: &[Key], target: Target) {
    let targets = [target];
    let all = || covered.iter().chain(spared);
    for key in all() {
        t.invalidate(&[key.clone().into_entry()]).await;
        t.put(key, "value").await;
    }
    t.invalidate(&targets).await;
    for key in covered {
        t.expect_miss(key, None, &format!("{} covers {key}", targets[0])).await;
    }
    for key in spared {
        t.expect_hit(key, "value", &format!("{} does not cover {key}", targets[0])).await;
    }

    let mut leases = Vec::new();
    for key in all() {
        t.invalidate(&[key.clone().into_entry()]).await;
        leases.push(t.lease(key, LONG).await);
    }
    t.invalidate(&targets).await;
    for (at, (key, lease)) in all().zip(&leases).enumerate() {
        let hit = at < covered.len();
        let expected = if hit { Filled::Refused } else { Filled::Stored };
        let filled = t.fill(key, lease, "value", LONG).await;
        let covers = if hit { "covers" } else { "does not cover" };
        t.check(filled == expected, &format!("{} {covers} the load of {key}", targets[0]));
    }
}

pub(super) async fn an_invalidation_of_nothing_is_fine(t: &Trial<'_>) {
    let key = t.key("a");
    t.put(&key, "value").await;
    t.invalidate(&[]).await;
    let nothing = t.key("nothing");
    t.invalidate(&[
        nothing.clone().into_entry(),
        nothing.clone().into_node(),
        Target::Tag(t.tag("nothing")),
        t.glob(":nothing:*"),
    ])
    .await;
    t.expect_hit(&key, "value", "what was not meant stays").await;
    t.put(&nothing.tag(t.tag("nothing")), "value").await;
}

pub(super) async fn many_targets_are_invalidated_at_once(t: &Trial<'_>) {
    let mut keys = Vec::new();
    let mut targets = Vec::new();
    for number in 0..32 {
        let tag = t.tag("of").text(":").arg(&number);
        let key = t.root().arg(&number).arg(&1).tag(tag.clone());
        targets.push(match number % 4 {
            0 => key.clone().into_entry(),
            1 => t.root().arg(&number).into_node(),
            2 => Target::Tag(tag),
            _ => t.glob(&format!(":{number}:*")),
        });
        keys.push(key);
    }
    let spared = t.root().arg("spared").arg(&1);
    for key in keys.iter().chain([&spared]) {
        t.put(key, "value").await;
    }
    t.invalidate(&targets).await;
    for key in &keys {
        t.expect_miss(key, None, "one of many targets").await;
    }
    t.expect_hit(&spared, "value", "none of many targets").await;
}

pub(super) async fn a_token_is_not_created_twice(t: &Trial<'_>) {
    let tag = || t.tag("x");
    let (one, other) = (t.root().arg(&7).arg(&1).tag(tag()), t.root().arg(&7).arg(&2).tag(tag()));
    for target in [t.root().arg(&7).into_node(), t.root().into_node(), Target::Tag(tag())] {
        let targets = [target];
        t.put(&one, "old").await;
        t.invalidate(&targets).await;
        // This load creates the token anew.
        t.put(&other, "value").await;
        t.expect_miss(&one, None, "a value under a token that was created anew after its invalidation").await;

        let old = t.lease(&one, LONG).await;
        t.invalidate(&targets).await;
        t.put(&other, "value").await;
        t.expect_miss(&one, None, "a load under a token that was created anew after its invalidation").await;
        t.expect_refused(&one, &old, "a fill under a token that was created anew after its invalidation").await;
        match t.acquire(&one, LOAD, LONG).await {
            Acquired::Lease(lease) => t.release(&one, &lease).await,
            other => panic!("a lease of before the invalidation does not stand in the way, got {other:?}"),
        }
        t.invalidate(&[one.clone().into_entry(), other.clone().into_entry()]).await;
    }
}
