//! The cluster itself: it forms, breaks, fails over, and slots move between its primaries.

use std::time::Duration;

use test_support::{ClusterOptions, ClusterServers, Promotion};

const KEY: &str = "key";

/// A cluster with a key, its slot, and the owner of that, whose replica has the key too.
fn cluster() -> Option<(ClusterServers, u16, usize)> {
    let cluster = ClusterServers::start(ClusterOptions::default())?;
    let slot = cluster.slot_of(KEY);
    let owner = cluster.owner(slot).expect("all slots are owned");
    assert_eq!(cluster.nodes[owner].cli(&["SET", KEY, "value"]), "+OK");
    assert!(cluster.nodes[owner].is_in_step(1, Duration::from_secs(30)));
    Some((cluster, slot, owner))
}

fn get(cluster: &ClusterServers, node: usize) -> String {
    cluster.nodes[node].cli(&["GET", KEY])
}

#[test]
fn slots_are_shared_and_each_primary_has_a_replica() {
    let Some(cluster) = ClusterServers::start(ClusterOptions::default()) else { return };
    assert_eq!(cluster.primaries(), [0, 1, 2]);
    assert_eq!((0..3).map(|node| cluster.replicas_of(node)).collect::<Vec<_>>(), [[3], [4], [5]]);
    for (slot, owner) in [(0, 0), (5_460, 0), (5_461, 1), (10_922, 2), (16_383, 2)] {
        assert_eq!(cluster.owner(slot), Some(owner), "slot {slot}");
    }
    assert_eq!(cluster.url().matches("127.0.0.1:").count(), 6);
    assert_eq!(cluster.slot_of("{user}:1"), cluster.slot_of("{user}:2"));
}

#[test]
fn a_killed_primary_is_replaced_and_follows_when_it_is_back() {
    let Some((mut cluster, slot, owner)) = cluster() else { return };
    cluster.nodes[owner].kill();
    let next = cluster.wait_for_failover(slot, owner);
    assert_eq!(next, owner + 3);
    assert_eq!(get(&cluster, next), "value");
    cluster.nodes[owner].restart();
    cluster.settle();
    assert_eq!(cluster.replicas_of(next), [owner]);
    assert!(get(&cluster, owner).starts_with("-MOVED"));
}

#[test]
fn a_stopped_primary_is_replaced_or_not_if_it_comes_back_in_time() {
    let Some((cluster, slot, owner)) = cluster() else { return };
    cluster.nodes[owner].stop();
    cluster.nodes[owner].cont();
    cluster.settle();
    assert_eq!(cluster.owner(slot), Some(owner));
    cluster.nodes[owner].stop();
    let next = cluster.wait_for_failover(slot, owner);
    cluster.nodes[owner].cont();
    cluster.settle();
    assert_eq!((cluster.owner(slot), cluster.replicas_of(next)), (Some(next), vec![owner]));
}

#[test]
fn a_replica_can_be_promoted_in_every_way() {
    let Some((cluster, slot, owner)) = cluster() else { return };
    let ways = [Promotion::Agreed, Promotion::Forced, Promotion::Takeover];
    for (way, (from, to)) in ways.into_iter().zip([(owner, owner + 3), (owner + 3, owner), (owner, owner + 3)]) {
        cluster.promote(to, way);
        cluster.settle();
        assert_eq!((cluster.owner(slot), cluster.replicas_of(to)), (Some(to), vec![from]), "{way:?}");
        assert_eq!(get(&cluster, to), "value");
    }
}

#[test]
fn a_slot_moves_step_by_step() {
    let Some((mut cluster, slot, owner)) = cluster() else { return };
    assert_eq!(cluster.nodes[owner].cli(&["SET", "{key}2", "value"]), "+OK");
    let to = cluster.add_primary();
    assert!(!cluster.primaries().contains(&to), "it owns nothing yet");

    let migration = cluster.begin_migration(slot, to).unwrap();
    assert_eq!(get(&cluster, owner), "value", "no key has moved");
    assert_eq!(cluster.move_keys(migration, 1), Ok(1));
    let asked = [KEY, "{key}2"].map(|key| cluster.nodes[owner].cli(&["GET", key]).starts_with("-ASK"));
    assert_eq!(asked.iter().filter(|&&asked| asked).count(), 1, "half-way, one of the two is there and one here");
    assert_eq!(cluster.owner(slot), Some(owner));

    cluster.finish_migration(migration).unwrap();
    cluster.settle();
    assert_eq!(cluster.owner(slot), Some(to));
    assert_eq!(get(&cluster, to), "value");
    assert!(get(&cluster, owner).starts_with("-MOVED"));
    cluster.migrate(slot, owner).unwrap();
    cluster.settle();
    assert_eq!((cluster.owner(slot), get(&cluster, owner).as_str()), (Some(owner), "value"));
}

#[test]
fn a_slot_that_is_half_moved_when_its_owner_is_replaced_can_be_moved_on() {
    let Some((mut cluster, slot, owner)) = cluster() else { return };
    let to = cluster.add_primary();
    let migration = cluster.begin_migration(slot, to).unwrap();
    assert_eq!(cluster.move_keys(migration, 10), Ok(1));
    let heir = owner + 3;
    // Without `settle`: the node that is to receive the slot takes nobody else's word for who owns it.
    cluster.promote(heir, Promotion::Takeover);
    assert_eq!(cluster.nodes[heir].cli(&["SET", KEY, "newer"]), "+OK", "it does not know that the slot is on its way");
    cluster.finish_migration(migration).unwrap();
    cluster.settle();
    assert_eq!((cluster.owner(slot), get(&cluster, to).as_str()), (Some(to), "newer"));

    let migration = cluster.begin_migration(slot, (owner + 1) % 3).unwrap();
    cluster.nodes[to].kill();
    cluster.nodes[to].restart();
    assert!(cluster.nodes[to].cli(&["CLUSTER", "NODES"]).contains("->-"), "{migration:?} outlives a restart");
    cluster.forget_migrations(Some(slot));
    assert!(cluster.nodes[to].cli(&["CLUSTER", "NODES"]).contains("->-"));
    cluster.forget_migrations(None);
    for node in [to, migration.to] {
        assert!(!cluster.nodes[node].cli(&["CLUSTER", "NODES"]).contains('['));
    }
    cluster.settle();
}

#[test]
fn a_cluster_may_have_a_password_and_no_replicas() {
    let options = ClusterOptions { replicas: 0, password: Some("open".to_owned()), ..Default::default() };
    let Some(mut cluster) = ClusterServers::start(options) else { return };
    assert!(cluster.url().starts_with("redis+cluster://:open@127.0.0.1:"), "{}", cluster.url());
    let slot = cluster.slot_of(KEY);
    let owner = cluster.owner(slot).expect("all slots are owned");
    assert_eq!(cluster.nodes[owner].cli(&["SET", KEY, "value"]), "+OK");
    let to = (owner + 1) % 3;
    cluster.migrate(slot, to).unwrap();
    assert_eq!(get(&cluster, to), "value");
    cluster.nodes[to].kill();
    assert_eq!(cluster.replicas_of(to), [0; 0]);
    assert!(cluster.begin_migration(slot, owner).is_err(), "its owner is down");
    cluster.nodes[to].restart();
    cluster.settle();
    assert_eq!(get(&cluster, to), "$-1", "nobody else had it");
}
