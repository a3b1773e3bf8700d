//! Quarantine around a write: nothing is stored from before the commit until after it, whatever ends the writer.

mod source;

use std::time::{Duration, Instant};

use source::{Service, Source};
use staleproof::{Cache, Event, Unavailable, invalidates};
use test_support::{RedisServer, shared_url, unique};
use tokio::sync::oneshot;

#[derive(Debug, PartialEq)]
enum WriteError {
    Refused,
    Constraint,
}

impl From<Unavailable> for WriteError {
    fn from(_: Unavailable) -> Self {
        Self::Refused
    }
}

type Steps = (oneshot::Sender<()>, oneshot::Receiver<()>);

/// A step of a writer that a test can wait for and let go.
fn steps() -> (Steps, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (enter, entered) = oneshot::channel();
    let (leave, left) = oneshot::channel();
    ((enter, left), entered, leave)
}

async fn pause((enter, left): Steps) {
    enter.send(()).expect("the test waits");
    left.await.expect("the test answers");
}

impl Service {
    #[invalidates(Self::page(owner, ..), hold = "10s")]
    async fn write_held(&self, owner: u32, committed: Steps) -> u64 {
        let new = self.source.write();
        pause(committed).await;
        new
    }

    #[invalidates(tag("owner:{owner}"), hold = "400ms")]
    async fn write_briefly_held(&self, owner: u32, committed: Steps) -> u64 {
        let new = self.source.write();
        pause(committed).await;
        new
    }

    #[invalidates(Self::page(owner, "p"), hold = "10s")]
    async fn fails(&self, owner: u32) -> Result<(), WriteError> {
        let _ = owner;
        Err(WriteError::Constraint)
    }

    #[invalidates(Self::page(owner, ..), hold = "300ms", linger = "600ms")]
    async fn write_to_lagging(&self, owner: u32) -> u64 {
        self.source.write()
    }

    #[invalidates(Self::page(owner, ..), hold = "10s", unreachable = "refuse")]
    async fn write_or_refuse(&self, owner: u32) -> Result<u64, WriteError> {
        Ok(self.source.write())
    }

    #[invalidates(Self::page(owner, ..), hold = "10s", unreachable = "refuse")]
    async fn write_or_refuse_slowly(&self, owner: u32, committed: Steps) -> Result<u64, WriteError> {
        let new = self.source.write();
        pause(committed).await;
        Ok(new)
    }

    #[invalidates(Self::page(owner, ..), unreachable = "refuse")]
    async fn write_or_refuse_unheld(&self, owner: u32) -> Result<u64, WriteError> {
        Ok(self.source.write())
    }
}

async fn services() -> Vec<Service> {
    let redis = Cache::builder()
        .namespace(unique("hold"))
        .redis(shared_url())
        .call_timeout(Duration::from_secs(5))
        .connect()
        .await
        .expect("Redis is there");
    [Cache::memory(), redis].map(|cache| Service::new(cache, &Source::new())).into()
}

async fn is_hit(service: &Service) -> bool {
    let before = service.source.loads();
    service.page(7, "p").await;
    service.source.loads() == before
}

#[tokio::test]
async fn while_a_writer_holds_nothing_is_stored_and_afterwards_everything_is_new() {
    for service in services().await {
        assert_eq!(service.page(7, "p").await, 1);
        assert!(is_hit(&service).await);
        let (committed, entered, leave) = steps();
        let writer = tokio::spawn({
            let service = service.clone();
            async move { service.write_held(7, committed).await }
        });
        entered.await.expect("the writer has committed");
        for _ in 0..3 {
            assert!(!is_hit(&service).await, "under quarantine each call loads");
            assert_eq!(service.page(7, "p").await, 2);
        }
        assert_eq!(service.page(8, "p").await, 2, "another owner is not concerned");
        leave.send(()).expect("the writer waits");
        assert_eq!(writer.await.expect("it ends"), 2);
        assert_eq!(service.page(7, "p").await, 2);
        assert!(is_hit(&service).await);
    }
}

#[tokio::test]
async fn a_writer_that_goes_away_after_its_commit_leaves_nothing_stale() {
    for service in services().await {
        assert_eq!(service.page(7, "p").await, 1);
        let (committed, entered, _leave) = steps();
        let writer = tokio::spawn({
            let service = service.clone();
            async move { service.write_briefly_held(7, committed).await }
        });
        entered.await.expect("the writer has committed");
        writer.abort();
        assert!(writer.await.is_err());
        let gone = Instant::now();
        loop {
            assert_eq!(service.page(7, "p").await, 2, "never the value from before the commit");
            if is_hit(&service).await {
                break;
            }
            assert!(gone.elapsed() < Duration::from_secs(3), "the hold lapses");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(gone.elapsed() > Duration::from_millis(200), "the hold was there until it lapsed");
    }
}

#[tokio::test]
async fn a_hold_is_kept_up_for_as_long_as_the_body_runs() {
    for service in services().await {
        let (committed, entered, leave) = steps();
        let writer = tokio::spawn({
            let service = service.clone();
            async move { service.write_briefly_held(7, committed).await }
        });
        entered.await.expect("the writer has committed");
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(1200) {
            assert!(!is_hit(&service).await, "after {:?}", started.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        leave.send(()).expect("the writer waits");
        writer.await.expect("it ends");
        service.page(7, "p").await;
        assert!(is_hit(&service).await);
    }
}

#[tokio::test]
async fn two_writers_of_one_target_hold_it_until_both_are_through() {
    for service in services().await {
        let write = |steps| {
            let service = service.clone();
            tokio::spawn(async move { service.write_held(7, steps).await })
        };
        let (first, first_entered, first_leave) = steps();
        let (second, second_entered, second_leave) = steps();
        let writers = [write(first), write(second)];
        first_entered.await.expect("the first has committed");
        second_entered.await.expect("the second has committed");
        first_leave.send(()).expect("the first waits");
        let [first, second] = writers;
        first.await.expect("it ends");
        assert!(!is_hit(&service).await && !is_hit(&service).await, "the second still holds");
        second_leave.send(()).expect("the second waits");
        second.await.expect("it ends");
        assert_eq!(service.page(7, "p").await, 3);
        assert!(is_hit(&service).await);
    }
}

#[tokio::test]
async fn a_body_that_fails_releases_what_it_held() {
    for service in services().await {
        assert_eq!(service.page(7, "p").await, 1);
        assert_eq!(service.fails(7).await, Err(WriteError::Constraint));
        service.page(7, "p").await;
        assert!(is_hit(&service).await, "it need not wait for a lapse");
    }
}

#[tokio::test]
async fn a_lingering_hold_keeps_out_what_a_lagging_replica_says() {
    for service in services().await {
        assert_eq!(service.page(7, "p").await, 1);
        service.write_to_lagging(7).await;
        let started = Instant::now();
        assert!(!is_hit(&service).await && !is_hit(&service).await);
        while !is_hit(&service).await {
            assert!(started.elapsed() < Duration::from_secs(4), "it lapses by itself");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(started.elapsed() > Duration::from_millis(400), "after {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_method_that_must_not_write_without_the_store_refuses() {
    let redis = RedisServer::reserve();
    let cache = Cache::builder().redis(redis.url()).connect().await.expect("away is no error");
    let service = Service::new(cache, &Source::new());
    assert_eq!(service.write_or_refuse(7).await, Err(WriteError::Refused));
    assert_eq!(service.write_or_refuse_unheld(7).await, Err(WriteError::Refused));
    assert_eq!(service.page(7, "p").await, 1, "nothing was written");
    for service in services().await {
        assert_eq!(service.write_or_refuse(7).await, Ok(2));
        assert_eq!(service.write_or_refuse_unheld(7).await, Ok(3));
    }
}

/// The write is done then: what is left is the quarantine, which keeps the old value from everybody.
#[tokio::test]
async fn a_refusing_method_that_loses_the_store_while_it_writes_leaves_its_targets_in_quarantine() {
    let redis = RedisServer::start();
    let (network, url) = redis.behind_proxy();
    let namespace = unique("hold");
    let connect = |url: String| Cache::builder().namespace(&namespace).redis(url).connect();
    let writer = Service::new(connect(url).await.expect("Redis is there"), &Source::new());
    let other = Service::new(connect(redis.url()).await.expect("Redis is there"), &writer.source);
    assert_eq!(writer.page(7, "p").await, 1);
    assert!(is_hit(&other).await);
    let (committed, entered, leave) = steps();
    let writing = tokio::spawn({
        let writer = writer.clone();
        async move { writer.write_or_refuse_slowly(7, committed).await }
    });
    entered.await.expect("the writer has committed");
    network.cut();
    leave.send(()).expect("the writer waits");
    assert_eq!(writing.await.expect("it ends"), Ok(2));
    assert_eq!(writer.cache.stats().invalidations_journaled, 1);
    assert!(!is_hit(&other).await, "in quarantine");
    assert_eq!(other.page(7, "p").await, 2);
}

#[tokio::test]
async fn without_the_store_a_hold_is_an_ordinary_invalidation() {
    let redis = RedisServer::reserve();
    let cache = Cache::builder().redis(redis.url()).connect().await.expect("away is no error");
    let service = Service::new(cache, &Source::new());
    let mut events = service.cache.events();
    assert_eq!(service.page(7, "p").await, 1);
    let (committed, entered, leave) = steps();
    let write = service.write_held(7, committed);
    let go = async {
        entered.await.expect("the writer has committed");
        leave.send(()).expect("the writer waits");
    };
    assert_eq!(tokio::join!(write, go).0, 2);
    assert_eq!(service.page(7, "p").await, 2);
    let journaled = async {
        while let Some(event) = events.next().await {
            if let Event::Invalidated { outcome, .. } = event {
                return outcome == staleproof::Outcome::Journaled;
            }
        }
        false
    };
    assert!(journaled.await);
}
