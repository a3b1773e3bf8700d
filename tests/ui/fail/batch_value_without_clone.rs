use std::collections::HashMap;

use staleproof::cached;

#[derive(serde::Serialize, serde::Deserialize)]
struct Page;

#[cached(batch, ttl = "15m")]
async fn pages(ids: &[u64]) -> HashMap<u64, Page> {
    ids.iter().map(|id| (*id, Page)).collect()
}

fn main() {}
