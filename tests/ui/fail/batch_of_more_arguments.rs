use std::collections::HashMap;

use staleproof::cached;

#[cached(ttl = "15m")]
async fn product(factor: u64, id: u64) -> Option<u64> {
    Some(factor * id)
}

#[cached(batch = product)]
async fn products(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, id * id)).collect()
}

fn main() {}
