//! Lists of states.

use std::time::Duration;

use cache_kit::Owned;
use test_support::RedisServer;
use tokio::time::sleep;

use crate::{Instance, LONG, in_memory, text};

/// What is put while others list is listed from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_does_not_lose_what_is_put_meanwhile() {
    let server = RedisServer::own().expect("there is a server to start");
    let (one, other) = (Instance::on(&server.url()).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("task").ttl(LONG).build::<Owned<u64, u64>, String>());
    for round in 0..300 {
        let lists = (0..4).map(|_| {
            tokio::spawn({
                let there = there.clone();
                async move {
                    for _ in 0..3 {
                        there.list(&1).await.unwrap();
                    }
                }
            })
        });
        let lists: Vec<_> = lists.collect();
        let key = Owned { owner: 1, id: 7 };
        for _ in 0..3 {
            here.take(&key).await.unwrap();
            here.put(&key, &text("task")).await.unwrap();
        }
        for list in lists {
            list.await.unwrap();
        }
        assert_eq!(here.list(&1).await.unwrap(), [(7, text("task"))], "after {round} rounds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ids_are_listed() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    for kit in [&one.kit, &in_memory()] {
        let tasks = kit.states("task").ttl(LONG).build::<Owned<String, String>, String>();
        let ids = [":", "{a}", "#", "*", "", "~", "''", "!", "(a,b)", "ä€😀", "a b\n\0"];
        for id in ids {
            tasks.put(&Owned { owner: text("o:#{}"), id: text(id) }, &text(id)).await.unwrap();
        }
        let listed: Vec<_> = tasks.list(&text("o:#{}")).await.unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(listed, ids);
    }
}

/// Who reads ids as another type does not take them from the others' list.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_leaves_ids_alone_that_it_cannot_read() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let tasks = one.kit.states("task").ttl(LONG).build::<Owned<u64, String>, String>();
    let numbers = one.kit.states("task").ttl(LONG).build::<Owned<u64, u64>, String>();
    tasks.put(&Owned { owner: 1, id: text("a") }, &text("task")).await.unwrap();
    assert_eq!(numbers.list(&1).await.unwrap(), []);
    assert_eq!(tasks.list(&1).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_what_has_ended_does_not_grow() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let tasks = one.kit.states("task").ttl(Duration::from_millis(200)).build::<Owned<u64, u64>, String>();
    for id in 0..300 {
        tasks.put(&Owned { owner: 1, id }, &text("task")).await.unwrap();
        if id % 100 == 99 {
            sleep(Duration::from_millis(150)).await;
        }
    }
    sleep(Duration::from_millis(100)).await;
    for id in 300..400 {
        tasks.put(&Owned { owner: 1, id }, &text("task")).await.unwrap();
    }
    let length: u32 = server.cli(&["ZCARD", "kit#state:task:1:#"]).trim().trim_start_matches(':').parse().unwrap();
    assert!(length <= 250, "{length} names of about 100 that are there");
}

/// What is restored after a loss is in its list again.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_restored_with_its_states() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let tasks = one.kit.states("task").ttl(LONG).restored_after_loss().build::<Owned<u64, u64>, String>();
    for id in 0..5 {
        tasks.put(&Owned { owner: 1, id }, &text("task")).await.unwrap();
    }
    assert_eq!(tasks.list(&1).await.unwrap().len(), 5);
    tasks.take(&Owned { owner: 1, id: 3 }).await.unwrap();
    server.kill();
    one.waits(false).await;
    server.remove_dump();
    server.restart();
    one.waits(true).await;
    let mut listed: Vec<_> = tasks.list(&1).await.unwrap().into_iter().map(|(id, _)| id).collect();
    listed.sort_unstable();
    assert_eq!(listed, [0, 1, 2, 4]);
    let other = Instance::on(&server.url()).await;
    let there = other.kit.states("task").ttl(LONG).build::<Owned<u64, u64>, String>();
    assert_eq!(there.list(&1).await.unwrap().len(), 4);
}
