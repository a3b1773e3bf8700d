//! The feed over servers that take each other's place: a cluster, and a primary that sentinels name.

mod common;

use std::time::Duration;

use cache_core::{Key, Outcome, Store, Tag, Target};
use common::{
    clustered::Clustered,
    keeper::{Keeper, wait},
    *,
};
use test_support::{SentinelGroup, SentinelOptions, unique};

fn targets() -> [Target; 5] {
    [
        page(7, 1).into_entry(),
        Key::new("page").arg(&7).into_node(),
        Target::Tag(Tag::new("owner:").arg(&7)),
        Target::Glob("page:*".to_owned()),
        Target::All,
    ]
}

/// Invalidates in every way, and looks whether it is in force where values are kept.
async fn all_hold(by: &impl Store, keepers: &[Keeper]) {
    let key = page(7, 1);
    for target in targets() {
        fill(&keepers[0].store, &key, "old").await;
        for keeper in keepers {
            keeper.until_it_may_serve().await;
            assert_eq!(keeper.read(&key).await.as_deref(), Some("old"));
            keeper.memory.kept().told.clear();
        }
        assert_eq!(by.invalidate(std::slice::from_ref(&target)).await.unwrap(), Outcome::Applied, "{target}");
        for keeper in keepers {
            assert_eq!(keeper.memory.served(&key), None, "{target}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_everybody_is_told_also_after_the_registry_has_moved() {
    let Some(clustered) = Clustered::start(0) else { return };
    let keepers = [Keeper::of(clustered.store().await), Keeper::of(clustered.store().await)];
    let outsider = clustered.store().await;
    for keeper in &keepers {
        keeper.until_it_may_serve().await;
    }
    all_hold(&outsider, &keepers).await;
    all_hold(&keepers[0].store, &keepers).await;
    for _ in 0..2 {
        let registry = clustered.spot("#members");
        let to = (registry.node + 1) % 3;
        let emptied = keepers[0].memory.kept().emptied;
        let migration = clustered.begin(&registry, to);
        // On its way: nobody gets a lease, and invalidations hold all the same.
        assert_eq!(outsider.invalidate(&targets()).await.unwrap(), Outcome::Applied);
        assert!(keepers.iter().all(|keeper| keeper.memory.served(&page(7, 1)).is_none()));
        clustered.finish(migration);
        wait("the members to notice", || keepers[0].memory.kept().emptied > emptied).await;
        wait("them to be back", || keepers.iter().all(|keeper| keeper.memory.may_serve())).await;
        assert_eq!(clustered.spot("#members").node, to);
        all_hold(&outsider, &keepers).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_failover_members_lose_what_they_keep_and_are_told_by_the_next_primary() {
    let Some(group) = SentinelGroup::start(SentinelOptions { replicas: 2, ..Default::default() }) else { return };
    let namespace = unique("feed");
    let mut keepers = Vec::new();
    for _ in 0..2 {
        keepers.push(Keeper::connect(config(&group.url(), &namespace)).await);
    }
    let outsider = Keeper::connect(config(&group.url(), &namespace)).await;
    for keeper in keepers.iter().chain([&outsider]) {
        keeper.until_it_may_serve().await;
    }
    all_hold(&outsider.store, &keepers).await;
    let emptied: Vec<_> = keepers.iter().map(|keeper| keeper.memory.kept().emptied).collect();
    group.fail_over();
    let group = tokio::task::spawn_blocking(move || {
        assert_ne!(group.wait_for_failover(0), 0);
        group
    });
    let _group = group.await.expect("it fails over");
    wait("members to notice", || {
        keepers.iter().zip(&emptied).all(|(keeper, before)| keeper.memory.kept().emptied > *before)
    })
    .await;
    for keeper in &keepers {
        wait("it to be back", || keeper.memory.may_serve()).await;
    }
    until(&outsider.store, true).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    all_hold(&outsider.store, &keepers).await;
}
