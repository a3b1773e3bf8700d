//! Warm-up: calls made ahead, so many at once and no more, whatever becomes of them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use staleproof::{Cache, cached};
use test_support::{RedisServer, shared_url, unique};

#[derive(Clone)]
struct Squares {
    cache: Cache,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    loads: Arc<AtomicUsize>,
}

impl Squares {
    fn new(cache: Cache) -> Self {
        Self { cache, running: Arc::default(), most: Arc::default(), loads: Arc::default() }
    }

    async fn load(&self) {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    #[cached(ttl = "1m", key_prefix = "warm_square")]
    async fn square(&self, id: u64) -> Result<Option<u64>, String> {
        self.load().await;
        if id % 10 == 3 { Err("no threes".to_owned()) } else { Ok(Some(id * id)) }
    }

    #[cached(batch = Self::square)]
    async fn squares(&self, ids: &[u64]) -> Result<HashMap<u64, u64>, String> {
        self.load().await;
        Ok(ids.iter().map(|id| (*id, id * id)).collect())
    }
}

async fn redis(url: &str) -> Cache {
    let builder = Cache::builder().namespace(unique("warm")).redis(url).call_timeout(std::time::Duration::from_secs(5));
    builder.connect().await.expect("Redis is there, or comes later")
}

#[tokio::test]
async fn calls_are_made_ahead_so_many_at_once_and_errors_are_counted() {
    for cache in [Cache::memory(), redis(&shared_url()).await] {
        let squares = Squares::new(cache.clone());
        assert_eq!(squares.square(5).await, Ok(Some(25)));
        let mut told = Vec::new();
        let warmed = cache.warm((0..100).map(|id| squares.square(id))).at_once(7).run(|so_far| told.push(so_far)).await;
        assert_eq!((warmed.done, warmed.failed, warmed.total, warmed.cut_short), (100, 10, Some(100), false));
        assert_eq!(told.iter().map(|so_far| so_far.done).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
        assert_eq!(told.last(), Some(&warmed));
        assert_eq!(squares.most.load(Ordering::SeqCst), 7, "as many at once as asked for, and no more");
        assert_eq!(squares.loads.swap(0, Ordering::SeqCst), 100, "what was there was not loaded again");
        for id in (0..100).filter(|id| id % 10 != 3) {
            assert_eq!(squares.square(id).await, Ok(Some(id * id)));
        }
        assert_eq!(squares.loads.load(Ordering::SeqCst), 0, "all are hits");
        assert!(warmed.to_string().starts_with("100 of 100 calls in "), "{warmed}");
    }
}

#[tokio::test]
async fn batches_warm_many_ids_at_a_time_in_a_task_of_their_own() {
    for cache in [Cache::memory(), redis(&shared_url()).await] {
        let squares = Squares::new(cache.clone());
        let warming = {
            let squares = squares.clone();
            async move {
                let ids: Vec<u64> = (0..1_000).collect();
                cache.warm(ids.chunks(100).map(|ids| squares.squares(ids))).at_once(2).run(|_| {}).await
            }
        };
        let warmed = tokio::spawn(warming).await.expect("it ends");
        assert_eq!((warmed.done, warmed.failed, warmed.total), (10, 0, Some(10)));
        assert_eq!((squares.loads.load(Ordering::SeqCst), squares.most.load(Ordering::SeqCst)), (10, 2));
        assert_eq!(squares.square(993).await, Ok(Some(993 * 993)));
        assert_eq!(squares.loads.load(Ordering::SeqCst), 10);
    }
}

#[tokio::test]
async fn nothing_is_warmed_for_a_store_that_is_out_of_reach() {
    let server = RedisServer::start();
    let url = server.url();
    drop(server);
    let cache = redis(&url).await;
    let squares = Squares::new(cache.clone());
    let warmed = cache.warm((0..100).map(|id| squares.square(id))).run(|_| {}).await;
    assert_eq!((warmed.done, warmed.cut_short), (0, true));
    assert_eq!(squares.loads.load(Ordering::SeqCst), 0);
    assert!(warmed.to_string().contains("cut short"), "{warmed}");
}
