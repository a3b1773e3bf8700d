use std::collections::HashMap;

use staleproof::cached;

#[cached(batch, ttl = "15m", skip(ids))]
async fn products(factor: u64, ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, factor * id)).collect()
}

fn main() {}
