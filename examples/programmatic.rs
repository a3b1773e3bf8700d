//! Without attributes: keys, policies and invalidations by hand, for what is only known at run time.
//!
//! ```sh
//! cargo run --example programmatic
//! REDIS_URL=redis://127.0.0.1/0 cargo run --example programmatic
//! ```

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use staleproof::{Cache, Key, Outcome, Policy, Tag};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    table: String,
    rows: BTreeMap<u32, String>,
}

#[allow(clippy::unused_async, reason = "a database would be awaited")]
async fn query(table: &str) -> Result<Report, std::io::Error> {
    println!("    …querying {table}");
    Ok(Report { table: table.to_owned(), rows: BTreeMap::from([(1, "one".to_owned())]) })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // STALEPROOF_URL, else REDIS_URL, else this process's memory.
    let cache = Cache::builder().namespace("programmatic").from_env().connect().await?;
    println!("{cache:?}");
    let _ = cache.clear().await;

    let policy = Policy::new(Duration::from_secs(600)).stale_if_error(Duration::from_secs(3600));
    for table in ["shifts", "shifts", "contracts"] {
        let key = Key::new("report").arg(table).arg(&2026).tag(Tag::new("table:").arg(table));
        let report = cache.get_or_load(&key, &policy, || query(table)).await?;
        println!("{key} has {} row", report.rows.len());
    }

    let outcome = cache.invalidate([Key::new("report").arg("shifts").into_node()]).await;
    assert_eq!(outcome, Outcome::Applied);
    let outcome = cache.invalidate([staleproof::Target::Tag(Tag::new("table:contracts"))]).await;
    assert_eq!(outcome, Outcome::Applied);

    let stats = cache.stats();
    println!("{stats}");
    assert_eq!((stats.total.hits, stats.total.misses), (1, 2));
    Ok(())
}
