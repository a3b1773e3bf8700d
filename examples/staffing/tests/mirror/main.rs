//! No write of the service forgets an invalidation.
//!
//! A random sequence of writes runs against warm caches. After each write every cached read, for every argument there
//! is, must answer what the database answers: in one instance in memory, and in two on one Redis, of which one reads what
//! the other writes.

#[path = "../common/mod.rs"]
mod common;
mod questions;
mod writer;

use std::collections::BTreeMap;

use questions::{Extent, answers};
use staffing::{Db, Result, Staffing, args, model::NewHire, seed::TODAY};
use staleproof::{Cache, Health};
use writer::Writer;

/// How often each write came to pass.
type Done = BTreeMap<&'static str, u32>;

/// Lets `writer` make so many random changes, each followed by every question to `reader`.
async fn mirror(reader: &Staffing, writer: &Staffing, seed: u64, changes: u32) -> Result<Done> {
    let db = &reader.db;
    let mut random = Writer::new(seed);
    answers(reader, Extent::of(db).await?).await?;
    for change in 0..changes {
        let name = loop {
            if let Some(name) = random.write(writer, Extent::of(db).await?).await? {
                break name;
            }
        };
        let extent = Extent::of(db).await?;
        let from_cache = answers(reader, extent).await?;
        // A cache in which nothing was ever stored: all its answers are the database's.
        let direct = answers(&Staffing::new(db.clone(), &Cache::memory()), extent).await?;
        for (question, truth) in &direct {
            let answer = &from_cache[question];
            assert_eq!(answer, truth, "{question} is stale after {name} (seed {seed}, change {change})");
        }
    }
    Ok(random.done)
}

async fn mirror_in_memory(seed: u64, changes: u32) -> Result<Done> {
    let service = Staffing::new(common::small_db().await?, &Cache::memory());
    mirror(&service, &service, seed, changes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_answers_are_the_databases_after_every_write() -> Result<()> {
    let (one, two) = (tokio::spawn(mirror_in_memory(1, 50)), tokio::spawn(mirror_in_memory(2, 50)));
    let mut done = one.await.expect("no panic")?;
    for (name, times) in two.await.expect("no panic")? {
        *done.entry(name).or_default() += times;
    }
    assert_eq!(done.len(), 15, "a write never came to pass: {done:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_on_the_same_redis_sees_every_write_of_another() -> Result<()> {
    let db = common::small_db().await?;
    let namespace = test_support::unique("staffing-mirror");
    let (reader, writer) = (on_redis(&db, &namespace).await, on_redis(&db, &namespace).await);
    let before = db.work().statements;
    let extent = Extent::of(&db).await?;
    answers(&writer, extent).await?;
    let loads = db.work().statements - before;
    answers(&reader, extent).await?;
    assert_eq!(db.work().statements - before, loads, "one instance loads for both");

    let done = mirror(&reader, &writer, 3, 25).await?;
    assert!(done.len() >= 8, "too few kinds of writes came to pass: {done:?}");
    Ok(())
}

async fn on_redis(db: &Db, namespace: &str) -> Staffing {
    // The machine may be busy with other tests: a slow answer must not be taken for an outage.
    let builder = Cache::builder().namespace(namespace).call_timeout(std::time::Duration::from_secs(5));
    let cache = builder.redis(test_support::shared_url()).require_redis().connect().await.expect("Redis is there");
    assert_eq!(cache.health(), Health::Connected);
    Staffing::new(db.clone(), &cache)
}

/// The other direction: what a write does not touch stays warm.
#[tokio::test]
async fn a_write_for_one_owner_leaves_the_others_warm() -> Result<()> {
    let db = common::small_db().await?;
    let service = Staffing::new(db.clone(), &Cache::memory());
    let extent = Extent::of(&db).await?;
    answers(&service, extent).await?;
    let sql = "SELECT owner_id, object_id FROM contracts ORDER BY id LIMIT 1";
    let (owner_id, object_id): (i64, i64) = db.one(sql, args![]).await?;
    let hired = NewHire {
        owner_id,
        object_id,
        name: "Zoe Newcomer".into(),
        trade: "cook".into(),
        starts_on: TODAY,
        hourly_cents: 2_000,
    };
    service.contracts.hire(hired).await?;

    let before = db.work().statements;
    answers(&service, extent).await?;
    // The owner's employees, objects and four pages of contracts (two statements each), the object's staff, and the ids that
    // were asked for before they existed: the contract's, the employee's contracts and objects, and the user.
    assert_eq!(db.work().statements - before, 1 + 1 + 4 * 2 + 1 + 1 + 2 + 1);
    Ok(())
}
