//! States around outages.

use std::time::Duration;

use cache_kit::{Owned, Scope};
use test_support::RedisServer;
use tokio::time::{Instant, sleep};

use crate::{Instance, LONG, PATIENCE, text, until_none_waits};

/// Others that remember a state know from it that it was removed, not that it was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_is_remembered_for_longer_than_the_state_would_have_been() {
    let server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let left = |key: &str| -> u64 { server.cli(&["PTTL", key]).trim().trim_start_matches(':').parse().unwrap() };
    let sessions = one.kit.states("session").ttl(Duration::from_hours(2)).build::<u64, String>();
    sessions.put(&1, &text("ada")).await.unwrap();
    sessions.take(&1).await.unwrap();
    assert!(left("kit#state:session:1") > 7_200_000 + 290_000);
    let endless = one.kit.states("session").ttl(Duration::MAX).build::<u64, String>();
    endless.put(&2, &text("ada")).await.unwrap();
    endless.take(&2).await.unwrap();
    let left = left("kit#state:session:2");
    assert!((86_400_000..87_000_000).contains(&left), "{left}");
}

/// The slot is free; another instance books it; then Redis is heard of once more, for something else, and no more when this one books it.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_redis_did_not_hear_of_does_not_replace_what_another_has_made() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("slot").ttl(LONG).build::<u64, String>());
    let mut is_first = true;
    let booked = here.update(&1, |old| {
        if std::mem::take(&mut is_first) {
            let meanwhile = async {
                there.put(&1, &text("other")).await.unwrap();
                here.get(&99).await.unwrap();
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(meanwhile));
            proxy.freeze();
        }
        old.or(Some(text("one")))
    });
    booked.await.unwrap();
    proxy.cut();
    one.waits(false).await;
    proxy.resume();
    one.waits(true).await;
    until_none_waits(&here).await;
    assert_eq!(there.get(&1).await.unwrap().as_deref(), Some("other"));
    assert_eq!(here.get(&1).await.unwrap().as_deref(), Some("other"));
}

/// What one has that ended meanwhile does not hide the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_an_outage_is_without_what_has_ended() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    let tasks = one.kit.states("task").ttl(Duration::from_secs(2)).build::<Owned<u64, u64>, String>();
    tasks.put(&Owned { owner: 1, id: 1 }, &text("ends")).await.unwrap();
    sleep(Duration::from_millis(1500)).await;
    tasks.put(&Owned { owner: 1, id: 2 }, &text("stays")).await.unwrap();
    server.kill();
    one.waits(false).await;
    tasks.put(&Owned { owner: 1, id: 2 }, &text("stays")).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(tasks.list(&1).await.unwrap(), [(2, text("stays"))]);
}

/// In reach again, there is one value to take, and not that of before the outage in one instance and that of it in another.
#[tokio::test(flavor = "multi_thread")]
async fn one_takes_it_as_soon_as_redis_is_back() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("draft").ttl(LONG).build::<u64, String>());
    for round in 0..5 {
        for key in 0..40 {
            here.put(&key, &text("before")).await.unwrap();
        }
        proxy.freeze();
        proxy.cut();
        one.waits(false).await;
        for key in 0..40 {
            assert_eq!(here.put(&key, &text("meanwhile")).await.unwrap(), Scope::ThisInstance);
        }
        proxy.resume();
        one.waits(true).await;
        for key in 0..40 {
            let taken = tokio::join!(here.take(&key), there.take(&key));
            let taken = [taken.0.unwrap(), taken.1.unwrap()];
            assert_eq!(taken.iter().flatten().count(), 1, "round {round}, key {key}: {taken:?}");
        }
        until_none_waits(&here).await;
        for key in 0..40 {
            assert_eq!(there.get(&key).await.unwrap(), None);
        }
    }
}

/// States that nobody has any more keep nothing alive, also where Redis does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn states_that_are_gone_leave_no_task_behind() {
    let mut server = RedisServer::own().expect("there is a server to start");
    let one = Instance::on(&server.url()).await;
    server.kill();
    one.waits(false).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..50 {
        drop(one.kit.states("draft").build::<u64, String>());
        drop(one.kit.codes("login").ttl(LONG));
    }
    let began = Instant::now();
    while tasks() > before + 5 {
        assert!(began.elapsed() < PATIENCE, "{} tasks more", tasks() - before);
        sleep(Duration::from_millis(50)).await;
    }
}

/// Also where it was taken before in the same outage.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_after_a_take_gives_way_only_to_writings_of_the_outage() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("draft").ttl(LONG).build::<u64, String>());
    for key in 1..=2 {
        here.put(&key, &text("first")).await.unwrap();
        there.put(&key, &text("second")).await.unwrap();
    }
    sleep(Duration::from_millis(50)).await;
    here.put(&9, &text("contact")).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    proxy.freeze();
    proxy.cut();
    one.waits(false).await;
    for key in 1..=2 {
        assert_eq!(here.take(&key).await.unwrap().as_deref(), Some("first"));
        assert_eq!(here.put(&key, &text("third")).await.unwrap(), Scope::ThisInstance);
    }
    there.put(&2, &text("meanwhile")).await.unwrap();
    proxy.resume();
    one.waits(true).await;
    until_none_waits(&here).await;
    assert_eq!(there.get(&1).await.unwrap().as_deref(), Some("third"));
    assert_eq!(there.get(&2).await.unwrap().as_deref(), Some("meanwhile"));
}

/// One missing answer is no outage: an update finds out whether it was made.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_without_an_answer_is_not_said_to_be_made_where_another_was_before() {
    let server = RedisServer::own().expect("there is a server to start");
    let (proxy, url) = server.behind_proxy();
    let (one, other) = (Instance::on(&url).await, Instance::on(&server.url()).await);
    let [here, there] = [&one, &other].map(|it| it.kit.states("slot").ttl(LONG).build::<u64, String>());
    let mut is_first = true;
    let booked = here.update(&1, |old| {
        if std::mem::take(&mut is_first) {
            let other = text("other");
            let meanwhile = there.put(&1, &other);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(meanwhile)).unwrap();
            proxy.freeze();
        }
        old.or(Some(text("one")))
    });
    let resumes = async {
        sleep(Duration::from_millis(1_300)).await;
        proxy.resume();
    };
    let (booked, ()) = tokio::join!(booked, resumes);
    assert_eq!(booked.unwrap().as_deref(), Some("other"));
}
