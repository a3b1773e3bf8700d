//! Reads of many tasks in shared commands.

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{
    Key, Store as _, Tag, Target,
    codec::Meta,
    store::{LeaseId, Payload, Read, StoreError, Stored},
};
use cache_redis::RedisStore;
use common::*;
use test_support::{RedisServer, shared_url};
use tokio::task::JoinSet;

const KEYS: i32 = 40;

fn name(number: i32) -> String {
    format!("value {number}")
}

async fn store_with_values(url: String) -> Arc<RedisStore> {
    let store = Ground::at(url).await.store;
    for number in 0..KEYS {
        fill(&store, &page(7, number), &name(number)).await;
    }
    Arc::new(store)
}

async fn read(store: &RedisStore, key: &Key) -> Result<Option<String>, StoreError> {
    Ok(match store.read(key).await? {
        Read::Hit(stored) => Some(text(&stored.payload)),
        _ => None,
    })
}

/// How many commands of this name the server has executed.
fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn many_readers_share_commands_and_each_gets_its_own() {
    let Some(server) = RedisServer::own() else { return };
    let store = store_with_values(server.url()).await;
    let before = calls(&server, "mget");
    let mut readers = JoinSet::new();
    for reader in 0..2_000 {
        let (store, number) = (Arc::clone(&store), reader % (KEYS + 5));
        readers.spawn(async move { (number, read(&store, &page(7, number)).await) });
    }
    while let Some(done) = readers.join_next().await {
        let (number, found) = done.expect("no reader panics");
        assert_eq!(found.expect("Redis answers"), (number < KEYS).then(|| name(number)));
    }
    let commands = calls(&server, "mget") - before;
    assert!((2_000 / 64..500).contains(&commands), "{commands} commands for 2,000 reads");
}

#[tokio::test]
async fn a_reader_that_is_alone_waits_for_nobody() {
    let Some(server) = RedisServer::own() else { return };
    let store = store_with_values(server.url()).await;
    let before = calls(&server, "mget");
    for number in 0..KEYS {
        assert_eq!(read(&store, &page(7, number)).await.unwrap(), Some(name(number)));
    }
    assert_eq!(calls(&server, "mget") - before, u64::try_from(KEYS).unwrap());
}

#[tokio::test]
async fn readers_that_go_away_leave_the_others_their_answers() {
    let Some(server) = RedisServer::own() else { return };
    let store = store_with_values(server.url()).await;
    for round in 0..20 {
        let mut readers: Vec<_> = (0..200)
            .map(|reader| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { read(&store, &page(7, reader % KEYS)).await })
            })
            .collect();
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        // Those that have their command under way are among them.
        for reader in readers.iter().step_by(2) {
            reader.abort();
        }
        for (number, reader) in (0..).zip(&mut readers).skip(1).step_by(2) {
            let found = reader.await.expect("it was left alone").expect("Redis answers");
            assert_eq!(found, Some(name(number % KEYS)));
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_queue_of_readers_one_timeout() {
    let Some(server) = RedisServer::own() else { return };
    let store = store_with_values(server.url()).await;
    server.stop();
    let mut readers = JoinSet::new();
    for number in 0..500 {
        let store = Arc::clone(&store);
        readers.spawn(async move { read(&store, &page(7, number % KEYS)).await });
    }
    while let Some(done) = readers.join_next().await {
        assert!(matches!(done.expect("no reader panics"), Err(StoreError::Timeout)));
    }
    server.cont();
    // One stall is one strike: the connection is still the same, and its queue is not stuck.
    let again = async {
        while read(&store, &page(7, 1)).await.ok() != Some(Some(name(1))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("it is read again");
}

/// Readers in a crowd, writers that invalidate what they then check: nobody who began afterwards finds the old value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_began_after_an_invalidation_never_shares_an_older_command() {
    let store = store_with_values(shared_url()).await;
    let mut crowd = JoinSet::new();
    for reader in 0..64 {
        let store = Arc::clone(&store);
        crowd.spawn(async move {
            loop {
                // A time-out on a busy machine says nothing here.
                let _ = read(&store, &page(7, reader % KEYS)).await;
            }
        });
    }
    for round in 0..300 {
        let number = fastrand::i32(..KEYS);
        let key = page(7, number);
        let target = if round % 2 == 0 { key.clone().into_entry() } else { Target::Tag(Tag::new("owner:").arg(&7)) };
        fill(&store, &key, &name(round)).await;
        store.invalidate(&[target]).await.expect("it answers");
        let mut late = JoinSet::new();
        for _ in 0..8 {
            let (store, key) = (Arc::clone(&store), key.clone());
            late.spawn(async move { read(&store, &key).await });
        }
        while let Some(done) = late.join_next().await {
            let found = done.expect("no reader panics");
            assert!(!matches!(&found, Ok(Some(_))), "round {round}: {found:?} was invalidated before this read began");
        }
    }
    crowd.shutdown().await;
}

/// A value of that name: in even rounds one that is small.
fn known(id: LeaseId, round: usize) -> Stored {
    let payload = Payload::Object { value: Arc::new(()), meta: Meta::default(), weight: (round % 2) << 20 };
    Stored { id, payload }
}

/// Those who ask for the head only and those who read, for the same keys at once: each gets its own answer, also in a crowd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_whether_a_value_holds_share_commands_with_readers() {
    let Some(server) = RedisServer::own() else { return };
    let store = store_with_values(server.url()).await;
    let mut ids = Vec::new();
    for number in 0..KEYS {
        let Ok(Read::Hit(stored)) = store.read(&page(7, number)).await else { panic!("{number} is there") };
        ids.push(stored.id);
    }
    let ids = Arc::new(ids);
    let dead = page(7, 0);
    store.invalidate(&[dead.clone().into_entry()]).await.expect("it answers");
    server.cli(&["CONFIG", "RESETSTAT"]);
    let mut tasks = JoinSet::new();
    for number in 0..400 {
        let (store, ids) = (Arc::clone(&store), Arc::clone(&ids));
        let number = number % KEYS;
        tasks.spawn(async move {
            let (key, index) = (page(7, number), usize::try_from(number).unwrap());
            for round in 0..20 {
                if round % 3 == 0 {
                    let found = read(&store, &key).await.expect("Redis answers");
                    assert_eq!(found, (number > 0).then(|| name(number)));
                }
                let (own, anothers) = (known(ids[index], round), known(ids[(index + 1) % ids.len()], round));
                assert_eq!(store.still_holds(&key, &own).await.expect("Redis answers"), number > 0, "{number}");
                assert!(!store.still_holds(&key, &anothers).await.expect("Redis answers"));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("each gets its own answer");
    }
    let (heads, reads) = (calls(&server, "getrange"), calls(&server, "mget"));
    assert!(
        heads < 400 * 40 && reads < 400 * 40,
        "{heads} heads and {reads} reads, for 16,000 questions: none was shared"
    );
}

#[tokio::test]
async fn what_is_no_string_holds_nothing() {
    let ground = Ground::shared().await;
    let key = page(7, 1);
    fill(&ground.store, &key, "value").await;
    let Ok(Read::Hit(stored)) = ground.store.read(&key).await else { panic!("it is there") };
    let holds = async |weight| ground.store.still_holds(&key, &known(stored.id, weight)).await.unwrap();
    assert!(holds(0).await && holds(1).await);
    ground.cli(&["DEL", &ground.name("page:7:1")]);
    ground.cli(&["LPUSH", &ground.name("page:7:1"), "x"]);
    assert!(!holds(0).await && !holds(1).await);
}

const LARGE: usize = 64 << 10;

/// The connections of the store, by their age, and the last command of each.
fn connections(server: &RedisServer) -> Vec<(String, String)> {
    let clients = server.cli(&["CLIENT", "LIST", "TYPE", "NORMAL"]);
    let field = |line: &str, name: &str| {
        let mut fields = line.split_whitespace();
        fields.find_map(|field| field.strip_prefix(name)).unwrap_or_default().to_owned()
    };
    let own = clients.lines().filter(|line| line.contains("cmd=") && !line.contains("cmd=client|list"));
    own.map(|line| (field(line, "id="), field(line, "cmd="))).collect()
}

async fn has_connections(server: &RedisServer, count: usize) -> Vec<(String, String)> {
    let began = Instant::now();
    loop {
        let now = connections(server);
        if now.len() == count {
            return now;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain for {count} connections: {now:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn large_values_have_a_connection_of_their_own() {
    let Some(server) = RedisServer::own() else { return };
    let store = store_with_values(server.url()).await;
    let large = "x".repeat(LARGE);
    let first = has_connections(&server, 1).await.remove(0).0;
    fill(&store, &page(8, 0), &large).await;
    has_connections(&server, 2).await;

    for _ in 0..3 {
        assert_eq!(read(&store, &page(8, 0)).await.unwrap().as_deref(), Some(&*large));
    }
    let second = connections(&server).into_iter().find(|(id, _)| *id != first).expect("there are two");
    assert_eq!(second.1, "mget", "large values are read over the second connection");
    assert_eq!(server.cli(&["CLIENT", "KILL", "ID", &second.0]), ":1");
    assert_eq!(read(&store, &page(8, 0)).await.unwrap().as_deref(), Some(&*large), "the first one serves");
    let again = has_connections(&server, 2).await;
    assert!(again.iter().all(|(id, _)| *id != second.0), "another has been opened");

    invalidate(&store, Target::All).await;
    assert_eq!(read(&store, &page(8, 0)).await.unwrap(), None);
    assert_eq!(read(&store, &page(7, 0)).await.unwrap(), None);
}

/// A replica has the incarnation of its primary, and lags behind it.
#[tokio::test]
async fn large_values_are_not_read_from_a_replica_that_a_balancer_leads_to() {
    let (Some(primary), Some(replica)) = (RedisServer::own(), RedisServer::own()) else { return };
    assert_eq!(replica.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]), "+OK");
    let began = Instant::now();
    while !replica.cli(&["INFO", "replication"]).contains("master_link_status:up") {
        assert!(began.elapsed() < Duration::from_secs(60), "the replica does not attach");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (balancer, url) = primary.behind_proxy();
    let store = store_with_values(url).await;
    balancer.lead(replica.address());
    let large = "x".repeat(LARGE);
    fill(&store, &page(8, 0), &large).await;
    // Longer than it takes to open a second connection.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let before = calls(&primary, "mget");
    for _ in 0..5 {
        assert_eq!(read(&store, &page(8, 0)).await.unwrap().as_deref(), Some(&*large));
    }
    assert_eq!((calls(&primary, "mget") - before, calls(&replica, "mget")), (5, 0));
}
