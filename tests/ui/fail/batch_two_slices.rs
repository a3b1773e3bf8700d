use std::collections::HashMap;

use staleproof::cached;

#[cached(batch, ttl = "15m")]
async fn scores(ids: &[u64], weights: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, id * weights[0])).collect()
}

fn main() {}
