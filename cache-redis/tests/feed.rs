//! Instances that keep values in their own memory: told of every invalidation, and waited for.

mod common;

use std::time::{Duration, Instant};

use cache_core::{Key, Outcome, Store, Tag, Target, store::HolderId};
use cache_redis::{RedisConfig, RedisStore};
use common::{
    keeper::{Keeper, wait},
    *,
};
use test_support::{RedisServer, cli, shared_url, unique};

/// How long a lease lasts, and what an invalidation waits at most.
const LEASE: Duration = Duration::from_secs(1);

/// One namespace, and how often its registry has somebody in it.
struct Field {
    url: String,
    namespace: String,
}

impl Field {
    fn new(url: String) -> Self {
        Self { url, namespace: unique("feed") }
    }

    fn config(&self) -> RedisConfig {
        config(&self.url, &self.namespace)
    }

    async fn store(&self) -> RedisStore {
        RedisStore::connect(self.config()).await.expect("Redis is there")
    }

    async fn keepers<const N: usize>(&self) -> [Keeper; N] {
        let mut keepers = Vec::new();
        for _ in 0..N {
            keepers.push(Keeper::connect(self.config()).await);
        }
        for keeper in &keepers {
            keeper.until_it_may_serve().await;
        }
        self.until_complete().await;
        keepers.try_into().ok().expect("as many as asked for")
    }

    fn cli(&self, arguments: &[&str]) -> String {
        cli(&self.url, arguments)
    }

    fn name(&self, path: &str) -> String {
        format!("{}:{path}", self.namespace)
    }

    /// How many are in the registry.
    fn members(&self) -> usize {
        let length = self.cli(&["HLEN", &self.name("#members")]);
        length.trim_start_matches(':').parse::<usize>().expect("a number").saturating_sub(1)
    }

    async fn until_complete(&self) {
        let note = || self.cli(&["HGET", &self.name("#members"), "#"]);
        wait("a registry that is known to be complete", || note().contains('!')).await;
    }
}

async fn took(store: &RedisStore, targets: &[Target]) -> Duration {
    let began = Instant::now();
    assert_eq!(store.invalidate(targets).await.expect("Redis answers"), Outcome::Applied);
    began.elapsed()
}

/// Invalidates without waiting for a lease. A machine that stalls may make it wait, but not each time.
async fn invalidate_at_once(store: &RedisStore, targets: &[Target], why: &str) {
    for _ in 0..10 {
        if took(store, targets).await < LEASE {
            return;
        }
    }
    panic!("each invalidation waits: {why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_has_been_told_when_an_invalidation_returns() {
    let field = Field::new(shared_url());
    let keepers = field.keepers::<4>().await;
    let outsider = field.store().await;
    let key = page(7, 1);
    for round in 0..50 {
        let target = match round % 5 {
            0 => key.clone().into_entry(),
            1 => Key::new("page").arg(&7).into_node(),
            2 => Target::Tag(Tag::new("owner:").arg(&7)),
            3 => Target::Glob("page:*".to_owned()),
            _ => Target::All,
        };
        fill(&outsider, &key, &round.to_string()).await;
        for keeper in &keepers {
            keeper.until_it_may_serve().await;
            assert_eq!(keeper.read(&key).await.as_deref(), Some(&*round.to_string()));
            keeper.memory.kept().told.clear();
        }
        let by = if round % 2 == 0 { &outsider } else { &keepers[0].store };
        invalidate(by, target.clone()).await;
        for keeper in &keepers {
            assert!(keeper.memory.has_been_told(&target), "round {round}: {target}");
            assert_eq!(keeper.memory.served(&key), None, "round {round}");
        }
    }
    assert_eq!(field.members(), 4);
}

#[tokio::test]
async fn without_members_nothing_is_left_in_redis() {
    let field = Field::new(shared_url());
    let store = field.store().await;
    invalidate(&store, Target::All).await;
    assert_eq!(field.cli(&["EXISTS", &field.name("#members"), &field.name("#seq")]), ":0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_told_and_so_is_its_release() {
    let field = Field::new(shared_url());
    let [keeper] = field.keepers().await;
    let outsider = field.store().await;
    let targets = [page(7, 1).into_entry()];
    let holder = HolderId::new();
    outsider.hold(&targets, holder, Duration::from_secs(5)).await.unwrap();
    assert!(keeper.memory.has_been_told(&targets[0]));
    keeper.memory.kept().told.clear();
    assert_eq!(outsider.release_hold(&targets, holder).await.unwrap(), Outcome::Applied);
    assert!(keeper.memory.has_been_told(&targets[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_targets_are_told_as_everything() {
    let field = Field::new(shared_url());
    let [keeper] = field.keepers().await;
    let outsider = field.store().await;
    let targets: Vec<_> = (0..1_001).map(|n| page(7, n).into_entry()).collect();
    assert_eq!(outsider.invalidate(&targets).await.unwrap(), Outcome::Applied);
    assert!(keeper.memory.has_been_told(&Target::All));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_answer_costs_a_lease_once_and_serves_nothing_when_it_is_back() {
    let server = RedisServer::start();
    let field = Field::new(server.url());
    let (network, url) = server.behind_proxy();
    let [outsider_sees] = field.keepers().await;
    let cut_off = Keeper::connect(config(&url, &field.namespace)).await;
    cut_off.until_it_may_serve().await;
    let (key, outsider) = (page(7, 1), field.store().await);
    fill(&outsider, &key, "old").await;
    assert_eq!(cut_off.read(&key).await.as_deref(), Some("old"));
    let emptied = cut_off.memory.kept().emptied;
    network.freeze();
    let first = took(&outsider, &[key.clone().into_entry()]).await;
    assert!(first >= LEASE, "{first:?}: it may serve until then");
    assert!(!cut_off.memory.may_serve(), "its lease has lapsed");
    assert!(outsider_sees.memory.has_been_told(&key.clone().into_entry()));
    invalidate_at_once(&outsider, &[key.clone().into_entry()], "it was expelled").await;
    assert_eq!(field.members(), 1);
    network.resume();
    cut_off.until_it_may_serve().await;
    assert!(cut_off.memory.kept().emptied > emptied);
    assert_eq!(cut_off.memory.served(&key), None);
    wait("it to be back", || field.members() == 2).await;
}

/// It says goodbye with the number of its last answered renewal. If another one is on its way just then, it stays in the registry until
/// the next invalidation, which is rare.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_leaves_costs_nothing() {
    let mut left = false;
    for _ in 0..6 {
        let field = Field::new(shared_url());
        let [staying, leaving] = field.keepers().await;
        let memory = leaving.memory.clone();
        assert!(memory.may_serve());
        drop(leaving);
        wait("it to stop", || !memory.may_serve()).await;
        let began = Instant::now();
        while field.members() > 1 && began.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        left = field.members() == 1;
        if left {
            invalidate_at_once(&staying.store, &[page(7, 1).into_entry()], "it has left").await;
            break;
        }
    }
    assert!(left, "not one of six has left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_says_so_is_out_of_the_registry_at_once_and_goes_on() {
    for round in 0..20 {
        let field = Field::new(shared_url());
        let [staying, leaving] = field.keepers().await;
        // At any time of a renewal.
        tokio::time::sleep(Duration::from_millis(13 * round)).await;
        leaving.store.leave().await;
        assert_eq!(field.members(), 1, "round {round}");
        assert!(!leaving.memory.may_serve(), "round {round}");
        let key = page(7, 1);
        fill(&leaving.store, &key, "new").await;
        assert_eq!(leaving.read(&key).await.as_deref(), Some("new"));
        assert_eq!(leaving.memory.served(&key), None, "not unasked");
        if round == 0 {
            invalidate_at_once(&staying.store, &[key.clone().into_entry()], "it has left").await;
            invalidate_at_once(&leaving.store, &[key.into_entry()], "it hears what others acknowledge").await;
            // Several renewals later.
            tokio::time::sleep(LEASE).await;
            assert_eq!(field.members(), 1, "it does not come back");
        }
    }
}

/// What is lost of the registry is not mistaken for nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_lost_is_waited_for() {
    let Some(server) = RedisServer::own() else { return };
    for loss in ["FLUSHALL", "DEL #members", "SET #members", "HDEL #members", "an eviction"] {
        let field = Field::new(server.url());
        let [keeper] = field.keepers().await;
        let outsider = field.store().await;
        took(&outsider, &[page(7, 1).into_entry()]).await;
        let (emptied, members) = (keeper.memory.kept().emptied, field.name("#members"));
        match loss {
            "FLUSHALL" => field.cli(&["FLUSHALL"]),
            "DEL #members" => field.cli(&["DEL", &members]),
            "SET #members" => field.cli(&["SET", &members, "x"]),
            "HDEL #members" => field.cli(&["HDEL", &members, "#"]),
            _ => {
                field.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
                field.cli(&["CONFIG", "SET", "maxmemory", "1"]);
                field.cli(&["SET", "another", "x"]);
                field.cli(&["CONFIG", "SET", "maxmemory", "0"])
            }
        };
        let first = took(&outsider, &[page(7, 1).into_entry()]).await;
        assert!(first >= LEASE, "{loss}, {first:?}: whoever was in it may serve until then");
        invalidate_at_once(&outsider, &[page(7, 1).into_entry()], "now it is known who there is").await;
        wait("it to be back", || field.members() == 1).await;
        assert!(keeper.memory.kept().emptied > emptied, "{loss}: it noticed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_that_is_lost_empties_and_nothing_else() {
    let field = Field::new(shared_url());
    let [keeper] = field.keepers().await;
    let outsider = field.store().await;
    for loss in [&["DEL"][..], &["SET", "x"], &["SET", "7"], &["LPUSH", "7"]] {
        took(&outsider, &[page(7, 1).into_entry()]).await;
        let (before, sequence) = (keeper.memory.kept().emptied, field.name("#seq"));
        field.cli(&["DEL", &sequence]);
        if let [command, value] = loss {
            field.cli(&[command, &sequence, value]);
        }
        wait("it to notice", || keeper.memory.kept().emptied > before).await;
        keeper.until_it_may_serve().await;
        invalidate_at_once(&outsider, &[page(7, 2).into_entry()], "the registry is as it was").await;
        assert!(keeper.memory.has_been_told(&page(7, 2).into_entry()), "{loss:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_empties_at_once() {
    let server = RedisServer::start();
    let field = Field::new(server.url());
    let (network, url) = server.behind_proxy();
    let keeper = Keeper::connect(config(&url, &field.namespace)).await;
    keeper.until_it_may_serve().await;
    let emptied = keeper.memory.kept().emptied;
    network.cut();
    wait("it to be emptied", || keeper.memory.kept().emptied > emptied).await;
    assert!(!keeper.memory.may_serve());
    network.resume();
    keeper.until_it_may_serve().await;
    // Only the feed's.
    let emptied = keeper.memory.kept().emptied;
    field.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    wait("it to be emptied", || keeper.memory.kept().emptied > emptied).await;
    keeper.until_it_may_serve().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_empties_and_whoever_has_not_noticed_is_waited_for() {
    let Some(mut server) = RedisServer::own() else { return };
    let field = Field::new(server.url());
    let (network, url) = server.behind_proxy();
    // What was saved knows of nobody who came later.
    let [first] = field.keepers().await;
    assert!(server.save());
    let outsider = field.store().await;
    let unaware = Keeper::connect(config(&url, &field.namespace)).await;
    unaware.until_it_may_serve().await;
    invalidate(&outsider, page(7, 1).into_entry()).await;
    network.freeze();
    server.restart();
    until(&outsider, false).await;
    until(&outsider, true).await;
    took(&outsider, &[page(7, 1).into_entry()]).await;
    assert!(!unaware.memory.may_serve(), "its lease has lapsed when this returned");
    network.cut();
    network.resume();
    first.until_it_may_serve().await;
    unaware.until_it_may_serve().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_resp2_there_is_no_feed_and_invalidations_wait() {
    let field = Field::new(shared_url());
    let [keeper] = field.keepers().await;
    let old = RedisStore::connect(config(&format!("{}?protocol=resp2", field.url), &field.namespace)).await.unwrap();
    assert!(!old.feed(keeper.memory.clone()));
    let took = took(&old, &[page(7, 1).into_entry()]).await;
    assert!(took >= LEASE, "{took:?}: it cannot hear who has acknowledged");
    assert!(keeper.memory.has_been_told(&page(7, 1).into_entry()));
    assert_eq!(field.members(), 1, "who lives is not expelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_channels_gets_no_lease_and_its_invalidations_hold() {
    let Some(server) = RedisServer::own() else { return };
    let field = Field::new(server.url());
    let keys = format!("~{}:*", field.namespace);
    server.cli(&["ACL", "SETUSER", "app", "on", ">hunter2", "resetchannels", &keys, "+@all"]);
    let url = field.url.replace("redis://", "redis://app:hunter2@");
    let [keeper] = field.keepers().await;
    let mute = Keeper::connect(config(&url, &field.namespace)).await;
    let key = page(7, 1);
    for _ in 0..3 {
        fill(&keeper.store, &key, "old").await;
        wait("a lease", || keeper.memory.may_serve()).await;
        assert_eq!(keeper.read(&key).await.as_deref(), Some("old"));
        let emptied = keeper.memory.kept().emptied;
        let took = took(&mute.store, &[key.clone().into_entry()]).await;
        assert!(took >= LEASE, "{took:?}");
        assert_eq!(keeper.memory.served(&key), None);
        assert!(keeper.memory.kept().emptied > emptied, "it noticed that something is missing");
    }
    assert_eq!(mute.memory.kept().renewals, 0, "no lease");
    assert_eq!(field.members(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_memory_is_full_invalidations_are_told_all_the_same() {
    let Some(server) = RedisServer::own() else { return };
    let field = Field::new(server.url());
    let [keeper] = field.keepers().await;
    let outsider = field.store().await;
    took(&outsider, &[page(7, 1).into_entry()]).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let number = || field.cli(&["HGETALL", &field.name("#members")]);
    let renewed = number();
    for page_number in 2..6 {
        let target = page(7, page_number).into_entry();
        invalidate_at_once(&outsider, std::slice::from_ref(&target), "members can acknowledge").await;
        assert!(keeper.memory.has_been_told(&target));
        tokio::time::sleep(LEASE / 2).await;
    }
    wait("a renewal", || number() != renewed).await;
    keeper.until_it_may_serve().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_that_matches_all_keys_spares_the_registry() {
    let field = Field::new(shared_url());
    let [keeper] = field.keepers().await;
    let outsider = field.store().await;
    invalidate_at_once(&outsider, &[Target::Glob("*".to_owned())], "the registry is as it was").await;
    assert!(keeper.memory.has_been_told(&Target::Glob("*".to_owned())));
    assert_eq!(field.members(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_journaled_is_told_when_it_is_replayed() {
    let server = RedisServer::start();
    let field = Field::new(server.url());
    let (network, url) = server.behind_proxy();
    let [keeper] = field.keepers().await;
    let cut_off = RedisStore::connect(config(&url, &field.namespace)).await.unwrap();
    network.cut();
    until(&cut_off, false).await;
    let target = page(7, 1).into_entry();
    assert_eq!(cut_off.invalidate(std::slice::from_ref(&target)).await.unwrap(), Outcome::Journaled);
    assert!(!keeper.memory.has_been_told(&target));
    network.resume();
    until(&cut_off, true).await;
    wait("it to be told", || keeper.memory.has_been_told(&target)).await;
}

/// The renewals end with the runtime, and go on with the next one.
#[test]
fn a_member_outlives_its_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let field = Field::new(shared_url());
    let first = runtime();
    let keeper = first.block_on(async {
        let [keeper] = field.keepers().await;
        keeper
    });
    drop(first);
    assert!(!keeper.memory.may_serve(), "emptied with its task");
    runtime().block_on(async {
        let _ = keeper.store.read(&page(7, 1)).await;
        keeper.until_it_may_serve().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_databases_have_a_feed_each() {
    let field = Field::new(shared_url());
    let [keeper] = field.keepers().await;
    let elsewhere = Field { url: format!("{}/1", field.url), namespace: field.namespace.clone() };
    let [other] = elsewhere.keepers().await;
    took(&other.store, &[page(7, 1).into_entry()]).await;
    assert!(other.memory.has_been_told(&page(7, 1).into_entry()));
    assert!(!keeper.memory.has_been_told(&page(7, 1).into_entry()));
    elsewhere.cli(&["DEL", &elsewhere.name("#members")]);
}
