use std::collections::HashMap;

use staleproof::cached;

#[cached(ttl = "15m")]
async fn square(id: u64) -> Option<u64> {
    Some(id * id)
}

#[cached(batch = square)]
async fn squares(ids: &[u64]) -> HashMap<u64, String> {
    ids.iter().map(|id| (*id, (id * id).to_string())).collect()
}

fn main() {}
