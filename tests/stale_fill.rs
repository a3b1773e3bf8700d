//! A load that began before an invalidation neither serves nor stores after it.

mod source;

use source::{Service, Source};
use staleproof::{Cache, Outcome, Target, keys};
use test_support::shared_url;

/// The targets that hit `page(7, "a:b")`, one of each kind.
fn targets() -> Vec<(&'static str, Target)> {
    let one = |mut targets: Vec<Target>| targets.remove(0);
    vec![
        ("entry", one(keys![Service::page(7, "a:b")])),
        ("node", one(keys![Service::page(7, ..)])),
        ("function", one(keys![Service::page(..)])),
        ("tag", one(keys![tag("owner:7")])),
        ("glob", one(keys!["paged:7:*"])),
        ("everything", Target::All),
    ]
}

/// `reader` loads; while its load is stopped between read and fill, `writer` writes and invalidates.
async fn a_stopped_load_meets(target: Target, kind: &str, reader: Cache, writer: Cache) {
    let source = Source::new();
    let (reader, writer) = (Service::new(reader, &source), Service::new(writer, &source));
    source.close();
    let early = tokio::spawn({
        let reader = reader.clone();
        async move { reader.page(7, "a:b").await }
    });
    source.reached().await;
    let new = source.write();
    assert_eq!(writer.cache.invalidate([target]).await, Outcome::Applied, "{kind}");

    // Callers that begin now must not join the stopped load.
    let late: Vec<_> = [&reader, &writer]
        .map(|service| {
            let service = service.clone();
            tokio::spawn(async move { service.page(7, "a:b").await })
        })
        .into();
    source.reached().await;
    source.open();
    for late in late {
        assert_eq!(late.await.expect("a caller ends"), new, "{kind}: a late caller was served the old value");
    }
    assert_eq!(early.await.expect("a caller ends"), new - 1, "{kind}: the early caller has what it loaded");
    for service in [&reader, &writer] {
        assert_eq!(service.page(7, "a:b").await, new, "{kind}: the old value was stored");
    }
}

#[tokio::test]
async fn in_memory() {
    for (kind, target) in targets() {
        let cache = Cache::memory();
        a_stopped_load_meets(target, kind, cache.clone(), cache).await;
    }
}

#[tokio::test]
async fn over_redis_in_one_instance_and_in_two() {
    for (kind, target) in targets() {
        for instances in [1, 2] {
            let namespace = format!("stale_fill_{kind}_{instances}_{}", std::process::id());
            let connect = || async {
                Cache::builder()
                    .namespace(&namespace)
                    .redis(shared_url())
                    .call_timeout(std::time::Duration::from_secs(5))
                    .connect()
                    .await
            };
            let reader = connect().await.expect("Redis is there");
            let writer = if instances == 1 { reader.clone() } else { connect().await.expect("Redis is there") };
            a_stopped_load_meets(target.clone(), kind, reader, writer).await;
        }
    }
}
