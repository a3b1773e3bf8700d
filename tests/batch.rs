//! Batches: each id is an entry of its own, shared with the single call, loaded once and never stale.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use staleproof::{Cache, Health, Outcome, Target, cached, invalidates, keys};
use test_support::{shared_url, unique};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::timeout,
};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(120);

const ORG: u32 = 7;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    version: u64,
}

/// A table of users, whose loads can be stopped after they have read. There is none whose id ends in 0.
struct Table {
    versions: Mutex<HashMap<u64, u64>>,
    /// The ids of each load, in order.
    loads: Mutex<Vec<Vec<u64>>>,
    fails: AtomicBool,
    open: watch::Sender<bool>,
    /// A permit for each load that has stopped.
    stopped: Semaphore,
}

impl Table {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            versions: Mutex::default(),
            loads: Mutex::default(),
            fails: AtomicBool::new(false),
            open: watch::channel(true).0,
            stopped: Semaphore::new(0),
        })
    }

    fn version(&self, id: u64) -> u64 {
        self.versions.lock().expect("no panic").get(&id).copied().unwrap_or(1)
    }

    fn write(&self, id: u64) {
        *self.versions.lock().expect("no panic").entry(id).or_insert(1) += 1;
    }

    /// The loads since the last time.
    fn loads(&self) -> Vec<Vec<u64>> {
        std::mem::take(&mut self.loads.lock().expect("no panic"))
    }

    fn stop(&self) {
        self.open.send_replace(false);
    }

    fn go(&self) {
        self.open.send_replace(true);
    }

    /// Waits until a load has read and stopped.
    async fn reached(&self) {
        let stopped = timeout(LONG, self.stopped.acquire()).await.expect("a load begins");
        stopped.expect("the table is there").forget();
    }

    async fn select(&self, ids: &[u64]) -> Result<Vec<Option<User>>, String> {
        self.loads.lock().expect("no panic").push(ids.to_vec());
        let users = ids.iter().map(|&id| (id % 10 != 0).then(|| User { id, version: self.version(id) })).collect();
        let fails = self.fails.load(Ordering::SeqCst);
        if !*self.open.borrow() {
            self.stopped.add_permits(1);
        }
        self.open.subscribe().wait_for(|open| *open).await.expect("the table outlives its loads");
        if fails { Err("the table is away".to_owned()) } else { Ok(users) }
    }
}

#[derive(Clone)]
struct Users {
    cache: Cache,
    table: Arc<Table>,
}

impl Users {
    #[cached(ttl = "1m", negative_ttl = "30s", key_prefix = "user", tags("org:{org}"))]
    async fn user(&self, org: u32, id: u64) -> Result<Option<User>, String> {
        Ok(self.table.select(&[id]).await?.remove(0))
    }

    #[cached(batch = Self::user)]
    async fn users(&self, org: u32, ids: &[u64]) -> Result<HashMap<u64, User>, String> {
        Ok(self.table.select(ids).await?.into_iter().flatten().map(|user| (user.id, user)).collect())
    }

    /// Entries of its own, in the order of the ids.
    #[cached(batch, ttl = "1m", key_prefix = "listed", tags("listed:{ids}"))]
    async fn listed(&self, ids: &[u64]) -> Result<Vec<Option<Arc<User>>>, String> {
        Ok(self.table.select(ids).await?.into_iter().map(|user| user.map(Arc::new)).collect())
    }

    #[invalidates(Self::user(ORG, id))]
    async fn change(&self, id: u64) {
        self.table.write(id);
        tokio::task::yield_now().await;
    }

    fn spawn_users(&self, ids: impl IntoIterator<Item = u64>) -> JoinHandle<Result<HashMap<u64, User>, String>> {
        let (this, ids): (_, Vec<u64>) = (self.clone(), ids.into_iter().collect());
        tokio::spawn(async move { this.users(ORG, &ids).await })
    }

    fn spawn_user(&self, id: u64) -> JoinHandle<Result<Option<User>, String>> {
        let this = self.clone();
        tokio::spawn(async move { this.user(ORG, id).await })
    }

    /// The versions that a batch answers.
    async fn versions(&self, ids: &[u64]) -> BTreeMap<u64, u64> {
        versions(self.users(ORG, ids).await)
    }
}

fn versions(answer: Result<HashMap<u64, User>, String>) -> BTreeMap<u64, u64> {
    let users = answer.expect("the table is there");
    assert!(users.iter().all(|(id, user)| *id == user.id), "{users:?}");
    users.into_iter().map(|(id, user)| (id, user.version)).collect()
}

async fn ended<T>(task: JoinHandle<T>) -> T {
    timeout(LONG, task).await.expect("nobody hangs").expect("it does not panic")
}

async fn connect(namespace: &str) -> Cache {
    // These tests are not about the bound on calls, and the machine that they run on may be slow.
    let builder = Cache::builder().namespace(namespace).redis(shared_url()).call_timeout(Duration::from_secs(5));
    builder.connect().await.expect("Redis is there")
}

/// A service in memory, one over Redis, and two instances over one Redis, each time over one table.
async fn services() -> Vec<(Users, Users)> {
    let (alone, shared) = (connect(&unique("batch")).await, unique("batch"));
    let memory = Cache::memory();
    let pairs =
        vec![(memory.clone(), memory), (alone.clone(), alone), (connect(&shared).await, connect(&shared).await)];
    pairs
        .into_iter()
        .map(|(one, other)| {
            let table = Table::new();
            (Users { cache: one, table: Arc::clone(&table) }, Users { cache: other, table })
        })
        .collect()
}

/// Whether loads are shared at all events. Over Redis they are shared by leases, and a machine that stalls for longer than
/// one lasts loads twice: then one try of five has to go without.
async fn in_one_of_five_tries(scenario: impl AsyncFn(Users, Users) -> bool) {
    let kinds = services().await.len();
    for kind in 0..kinds {
        let mut tries = 0;
        loop {
            let (here, there) = services().await.remove(kind);
            if scenario(here, there).await {
                break;
            }
            tries += 1;
            assert!(kind > 0 && tries < 5, "loaded more than once");
        }
    }
}

#[tokio::test]
async fn the_body_gets_what_is_missing_and_the_answer_has_all() {
    for (here, there) in services().await {
        assert_eq!(here.versions(&[3, 1]).await, [(1, 1), (3, 1)].into());
        assert_eq!(there.versions(&[1, 4, 2, 3, 4]).await, [(1, 1), (2, 1), (3, 1), (4, 1)].into());
        assert_eq!(here.versions(&[4, 3, 2, 1]).await.len(), 4);
        assert_eq!(here.versions(&[]).await, [].into());
        assert_eq!(here.table.loads(), [vec![3, 1], vec![4, 2]]);
        let user = |id| Some(Arc::new(User { id, version: 1 }));
        assert_eq!(here.listed(&[5, 20, 3, 5]).await, Ok(vec![user(5), None, user(3), user(5)]));
        assert_eq!(there.listed(&[3, 20, 6]).await, Ok(vec![user(3), None, user(6)]));
        assert_eq!(here.table.loads(), [vec![5, 20, 3], vec![6]], "other entries than those of `user`");
    }
}

#[tokio::test]
async fn a_batch_and_the_single_call_share_entries() {
    for (here, there) in services().await {
        assert_eq!(here.user(ORG, 1).await.expect("there").map(|user| user.version), Some(1));
        assert_eq!(there.versions(&[1, 2]).await, [(1, 1), (2, 1)].into());
        assert_eq!(here.user(ORG, 2).await.expect("there").map(|user| user.version), Some(1));
        assert_eq!(here.versions(&[2]).await.len(), 1);
        assert_eq!(here.table.loads(), [[1], [2]]);
        assert!(here.users(8, &[1]).await.is_ok(), "another organisation, another entry");
        assert_eq!(here.table.loads(), [[1]]);
    }
}

#[tokio::test]
async fn what_the_answer_leaves_out_is_known_to_be_absent() {
    for (here, there) in services().await {
        assert_eq!(here.versions(&[10, 11, 20]).await, [(11, 1)].into());
        assert_eq!(there.versions(&[20, 10]).await, [].into());
        assert_eq!(there.user(ORG, 10).await, Ok(None));
        assert_eq!(here.user(ORG, 30).await, Ok(None));
        assert_eq!(here.versions(&[30]).await, [].into());
        assert_eq!(here.table.loads(), [vec![10, 11, 20], vec![30]]);
        here.change(10).await;
        assert_eq!(there.user(ORG, 10).await, Ok(None));
        assert_eq!(here.table.loads(), [[10]], "somebody may have made it");
    }
}

/// The targets that hit the user 2, one of each kind.
fn targets() -> Vec<(&'static str, Target)> {
    let one = |mut targets: Vec<Target>| targets.remove(0);
    vec![
        ("entry", one(keys![Users::user(ORG, 2)])),
        ("entry by the batch", one(keys![Users::users(ORG, 2)])),
        ("node", one(keys![Users::users(ORG, ..)])),
        ("tag", one(keys![tag("org:{ORG}")])),
        ("glob", one(keys!["user:7:2"])),
        ("everything", Target::All),
    ]
}

#[tokio::test]
async fn a_batch_that_is_stopped_between_read_and_fill_stores_nothing_that_was_invalidated() {
    for (kind, target) in targets() {
        for (reader, writer) in services().await {
            reader.table.stop();
            let early = reader.spawn_users([1, 2, 3]);
            reader.table.reached().await;
            reader.table.write(2);
            assert_eq!(writer.cache.invalidate([target.clone()]).await, Outcome::Applied, "{kind}");

            // Who begins now must not join the stopped load.
            let late = [reader.spawn_users([2]), writer.spawn_users([2])];
            let single = writer.spawn_user(2);
            reader.table.reached().await;
            reader.table.go();
            for late in late {
                assert_eq!(
                    versions(ended(late).await),
                    [(2, 2)].into(),
                    "{kind}: a late batch was served the old value"
                );
            }
            let single = ended(single).await.expect("there").map(|user| user.version);
            assert_eq!(single, Some(2), "{kind}: a late call was served the old value");
            assert_eq!(versions(ended(early).await)[&2], 1, "{kind}: the early caller has what it loaded");
            for service in [&reader, &writer] {
                assert_eq!(service.versions(&[1, 2, 3]).await, [(1, 1), (2, 2), (3, 1)].into(), "{kind}");
            }
            let loads: Vec<u64> = reader.table.loads().into_iter().flatten().collect();
            let loaded_again = |id| loads.iter().filter(|of| **of == id).count() > 1;
            assert!(loaded_again(2), "{kind}");
            if loaded_again(1) || loaded_again(3) {
                // Over Redis a lease may have lapsed, on a machine that stalls.
                let is_in_memory = matches!(reader.cache.health(), Health::Memory);
                assert!(!is_in_memory || !["entry", "entry by the batch", "glob"].contains(&kind), "{kind}: {loads:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_tag_of_each_id_invalidates_it() {
    for (here, there) in services().await {
        assert!(here.listed(&[1, 2]).await.is_ok());
        here.table.write(2);
        assert_eq!(there.cache.invalidate(keys![tag("listed:{}", 2)]).await, Outcome::Applied);
        let versions =
            |users: Vec<Option<Arc<User>>>| users.into_iter().flatten().map(|user| user.version).collect::<Vec<_>>();
        assert_eq!(versions(here.listed(&[1, 2]).await.expect("there")), [1, 2]);
        assert_eq!(here.table.loads(), [vec![1, 2], vec![2]]);
        assert_eq!(there.cache.invalidate(keys![Users::listed(1), Users::listed(3)]).await, Outcome::Applied);
        assert!(here.listed(&[1, 2]).await.is_ok());
        assert_eq!(here.table.loads(), [[1]]);
    }
}

#[tokio::test]
async fn what_it_leads_is_loaded_before_it_waits_for_others() {
    in_one_of_five_tries(async |here, there| {
        here.table.stop();
        let first = here.spawn_users([1, 2]);
        here.table.reached().await;
        // It needs what the first one loads, and does not wait for that with its own.
        let second = there.spawn_users([2, 3]);
        here.table.reached().await;
        let third = there.spawn_users([1, 2, 3]);
        let single = there.spawn_user(2);
        tokio::time::sleep(Duration::from_millis(100)).await;
        here.table.go();
        assert_eq!(versions(ended(first).await), [(1, 1), (2, 1)].into());
        assert_eq!(versions(ended(second).await), [(2, 1), (3, 1)].into());
        assert_eq!(versions(ended(third).await).len(), 3);
        assert!(ended(single).await.expect("there").is_some());
        let loads = here.table.loads();
        assert_eq!(loads[0], [1, 2]);
        loads == [vec![1, 2], vec![3]]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_batches_load_each_id_once_and_none_waits_for_ever() {
    for round in 0..10 {
        in_one_of_five_tries(async |here, there| {
            // In opposite orders, with shares of each other's ids.
            let ids: Vec<u64> = (0..60).map(|id| round * 100 + id).collect();
            let slices = [&ids[..], &ids[..40], &ids[20..], &ids[10..50], &ids[30..31]];
            let mut tasks = Vec::new();
            for (index, slice) in slices.iter().cycle().take(20).enumerate() {
                let service = if index % 2 == 0 { &here } else { &there };
                let mut ids = slice.to_vec();
                if index % 3 == 0 {
                    ids.reverse();
                }
                let there_are: Vec<u64> = slice.iter().copied().filter(|id| id % 10 != 0).collect();
                tasks.push((there_are, service.spawn_users(ids)));
            }
            for (there_are, task) in tasks {
                assert_eq!(versions(ended(task).await).into_keys().collect::<Vec<_>>(), there_are);
            }
            let mut loaded: Vec<u64> = here.table.loads().into_iter().flatten().collect();
            loaded.sort_unstable();
            loaded == ids
        })
        .await;
    }
}

#[tokio::test]
async fn an_error_is_the_callers_own_and_stores_nothing() {
    for (here, there) in services().await {
        assert_eq!(here.versions(&[1]).await.len(), 1);
        here.table.fails.store(true, Ordering::SeqCst);
        here.table.stop();
        let failing = here.spawn_users([1, 2, 3]);
        here.table.reached().await;
        let waiting = [here.spawn_users([2, 4]), there.spawn_users([3, 2])];
        let single = there.spawn_user(3);
        here.table.fails.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        here.table.go();
        assert_eq!(ended(failing).await, Err("the table is away".to_owned()));
        // Those who waited load for themselves: the body runs again where it has run already.
        for waiting in waiting {
            assert_eq!(versions(ended(waiting).await).len(), 2);
        }
        assert!(ended(single).await.expect("there").is_some());
        assert_eq!(there.versions(&[1, 2, 3, 4]).await.len(), 4);
    }
}

#[tokio::test]
async fn whoever_waits_for_a_batch_that_goes_away_loads_at_once() {
    in_one_of_five_tries(async |here, there| {
        here.table.stop();
        let leaving = here.spawn_users(1..=9);
        here.table.reached().await;
        let waiting = [here.spawn_users([1, 2, 3]), there.spawn_users([3, 4]), there.spawn_users([9, 11])];
        let single = there.spawn_user(5);
        tokio::time::sleep(Duration::from_millis(100)).await;
        leaving.abort();
        here.table.go();
        for waiting in waiting {
            ended(waiting).await.expect("there");
        }
        assert!(ended(single).await.expect("there").is_some());
        let mut loaded: Vec<u64> = here.table.loads().into_iter().skip(1).flatten().collect();
        loaded.sort_unstable();
        // Nobody waits for the leases that it had: they are free.
        assert_eq!(there.versions(&[6, 7, 8]).await.len(), 3);
        assert_eq!(here.versions(&[6, 7, 8]).await.len(), 3);
        // Each once, whatever the load of the one that left.
        loaded == [1, 2, 3, 4, 5, 9, 11] && here.table.loads() == [[6, 7, 8]]
    })
    .await;
}

#[tokio::test]
async fn a_batch_dropped_at_any_await_point_leaves_nobody_waiting() {
    for (here, there) in services().await {
        let mut done = false;
        for polls in 1..200 {
            let ids: Vec<u64> = (1..=5).map(|id| polls * 100 + id).collect();
            let waiting = [here.spawn_users(ids.clone()), there.spawn_users(ids.iter().rev().copied())];
            {
                let mut dropped = std::pin::pin!(here.users(ORG, &ids));
                for _ in 0..polls {
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    done = Future::poll(dropped.as_mut(), &mut context).is_ready();
                    if done {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            for waiting in waiting {
                assert_eq!(versions(ended(waiting).await).len(), 5);
            }
            assert_eq!(here.versions(&ids).await.len(), 5);
            if done {
                break;
            }
        }
        assert!(done, "with enough polls the call ends");
    }
}

#[tokio::test]
async fn a_body_that_panics_hands_over_and_panics_in_its_own_caller_only() {
    #[derive(Clone)]
    struct Fragile {
        cache: Cache,
        has_panicked: Arc<AtomicBool>,
    }
    impl Fragile {
        #[cached(batch, ttl = "1m", key_prefix = "fragile_batch")]
        async fn doubled(&self, ids: &[u32]) -> BTreeMap<u32, u32> {
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert!(self.has_panicked.swap(true, Ordering::SeqCst), "the first load panics");
            ids.iter().map(|id| (*id, 2 * id)).collect()
        }
    }
    for cache in [Cache::memory(), connect(&unique("batch")).await] {
        let fragile = Fragile { cache, has_panicked: Arc::default() };
        let callers: Vec<_> = (0..10)
            .map(|caller| {
                let fragile = fragile.clone();
                tokio::spawn(async move { fragile.doubled(&[1, 2, 3 + caller]).await })
            })
            .collect();
        let mut panicked = 0;
        for caller in callers {
            match timeout(LONG, caller).await.expect("nobody hangs") {
                Ok(doubled) => assert!(doubled.len() == 3 && doubled.iter().all(|(id, double)| *double == 2 * id)),
                Err(error) => {
                    assert!(error.is_panic());
                    panicked += 1;
                }
            }
        }
        assert_eq!(panicked, 1);
    }
}

/// That leases of so many are kept is shown in `cache-core`, on a clock that a slow machine does not disturb.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousands_of_ids_are_loaded_and_stored() {
    let ids: Vec<u64> = (0..3_000).collect();
    for (here, there) in services().await {
        let (first, second) = (here.spawn_users(ids.clone()), there.spawn_users(ids.iter().rev().copied()));
        assert_eq!(versions(ended(first).await).len(), 2_700);
        assert_eq!(versions(ended(second).await).len(), 2_700);
        here.table.loads();
        here.table.write(1);
        assert_eq!(there.cache.invalidate(keys![Users::user(ORG, 1)]).await, Outcome::Applied);
        let users = here.versions(&ids).await;
        assert_eq!((users.len(), users[&1], users[&2]), (2_700, 2, 1));
        assert!(here.table.loads().concat().contains(&1));
    }
}
