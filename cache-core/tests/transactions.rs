//! Invalidations inside a transaction wait for the outermost commit, and go with a rollback.

use std::{
    convert::Infallible,
    future::Future as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use cache_core::{Cache, Key, Outcome, Policy, transaction};

struct Shop {
    cache: Cache,
    price: Arc<AtomicU32>,
}

impl Shop {
    fn new() -> Self {
        Self { cache: Cache::memory(), price: Arc::new(AtomicU32::new(1)) }
    }

    async fn read(&self) -> u32 {
        let policy = Policy::new(Duration::from_secs(60));
        let load = async || Ok::<_, Infallible>(self.price.load(Ordering::SeqCst));
        self.cache.get_or_load(&Key::new("price"), &policy, load).await.unwrap_or_else(|never| match never {})
    }

    /// What a method with `#[invalidates]` does.
    async fn write(&self, price: u32) -> Outcome {
        self.price.store(price, Ordering::SeqCst);
        self.cache.invalidate([Key::new("price").into_entry()]).await
    }
}

#[tokio::test]
async fn outside_a_transaction_an_invalidation_is_in_force_at_once() {
    let shop = Shop::new();
    assert_eq!(shop.read().await, 1);
    assert_eq!(shop.write(2).await, Outcome::Applied);
    assert_eq!(shop.read().await, 2);
}

#[tokio::test]
async fn invalidations_wait_for_the_commit_and_the_transaction_sees_its_own_writes() {
    let shop = Arc::new(Shop::new());
    assert_eq!(shop.read().await, 1);
    let done = transaction(async {
        assert_eq!(shop.write(2).await, Outcome::Journaled);
        assert_eq!(shop.read().await, 2, "inside, the source answers");
        let outside = tokio::spawn({
            let shop = Arc::clone(&shop);
            async move { shop.read().await }
        });
        assert_eq!(outside.await.expect("it ends"), 1, "outside, nothing has happened yet");
        Ok::<_, Infallible>(())
    });
    assert!(done.await.is_ok());
    assert_eq!(shop.read().await, 2);
    assert_eq!(shop.cache.stats().total.bypassed, 1);
    assert_eq!(shop.cache.stats().total.fills, 2, "nothing was stored from inside");
}

#[tokio::test]
async fn a_rollback_drops_them() {
    let shop = Shop::new();
    assert_eq!(shop.read().await, 1);
    let failed = transaction(async {
        let _ = shop.write(2).await;
        shop.price.store(1, Ordering::SeqCst);
        Err::<(), _>("constraint")
    });
    assert_eq!(failed.await, Err("constraint"));
    let hits = shop.cache.stats().total.hits;
    assert_eq!(shop.read().await, 1);
    assert_eq!(shop.cache.stats().total.hits, hits + 1, "the entry is still there");
}

/// As the answer of the database may be lost after it has committed.
#[tokio::test]
async fn a_commit_that_fails_invalidates_if_its_error_is_inside_the_ok() {
    let shop = Shop::new();
    assert_eq!(shop.read().await, 1);
    let done = transaction(async {
        let _ = shop.write(2).await;
        Ok::<_, Infallible>(Err::<(), _>("connection lost in COMMIT"))
    });
    assert_eq!(done.await, Ok(Err("connection lost in COMMIT")));
    assert_eq!(shop.read().await, 2);
}

#[tokio::test]
async fn inner_transactions_wait_for_the_outermost() {
    let shop = Shop::new();
    let other = Key::new("other");
    assert_eq!(shop.read().await, 1);
    let done = transaction(async {
        transaction(async {
            let _ = shop.write(2).await;
            Ok::<_, Infallible>(())
        })
        .await?;
        assert_eq!(shop.cache.stats().invalidations_applied, 0);
        let dropped = transaction(async {
            let _ = shop.cache.invalidate([other.clone().into_entry()]).await;
            Err::<(), _>("savepoint rolled back")
        });
        assert!(dropped.await.is_err());
        Ok::<_, Infallible>(())
    });
    assert!(done.await.is_ok());
    assert_eq!(shop.cache.stats().invalidations_applied, 1, "what the inner one that failed collected is gone");
    assert_eq!(shop.read().await, 2);
}

#[tokio::test]
async fn a_transaction_whose_end_nobody_saw_invalidates() {
    let shop = Arc::new(Shop::new());
    assert_eq!(shop.read().await, 1);
    let task = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move {
            transaction(async {
                let _ = shop.write(2).await;
                std::future::pending::<Result<(), Infallible>>().await
            })
            .await
        }
    });
    while shop.price.load(Ordering::SeqCst) == 1 {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.is_err());
    while shop.cache.stats().invalidations_applied == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(shop.read().await, 2);
}

/// A guard that was released before the commit let a reader store the old value for good.
#[tokio::test]
async fn a_hold_that_is_released_inside_waits_for_the_commit() {
    for longer in [None, Some(Duration::from_millis(1))] {
        let shop = Arc::new(Shop::new());
        let done = transaction(async {
            let targets = [Key::new("price").into_entry()];
            let hold = shop.cache.hold(targets, Duration::from_secs(10)).await.expect("memory is there");
            let outcome = match longer {
                None => hold.release().await,
                Some(longer) => hold.linger(longer).await,
            };
            assert_eq!(outcome, Outcome::Journaled);
            let outside = tokio::spawn({
                let shop = Arc::clone(&shop);
                async move { shop.read().await }
            });
            assert_eq!(outside.await.expect("it ends"), 1, "not committed yet");
            shop.price.store(2, Ordering::SeqCst);
            Ok::<_, Infallible>(())
        });
        assert!(done.await.is_ok());
        assert_eq!(shop.read().await, 2);
    }
}

/// Its invalidations were lost without a word.
#[test]
fn a_transaction_that_is_dropped_outside_of_a_runtime_invalidates_what_is_in_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    let shop = Shop::new();
    assert_eq!(runtime.block_on(shop.read()), 1);
    let mut unfinished = Box::pin(transaction(async {
        let _ = shop.write(2).await;
        std::future::pending::<Result<(), Infallible>>().await
    }));
    runtime.block_on(std::future::poll_fn(|context| {
        assert!(unfinished.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    }));
    drop(unfinished);
    assert_eq!(runtime.block_on(shop.read()), 2);
}
