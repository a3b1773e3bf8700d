use std::collections::HashMap;

use staleproof::cached;

#[cached(tll = "15m")]
async fn square(id: u64) -> Option<u64> {
    Some(id * id)
}

#[cached(batch = square)]
async fn squares(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, id * id)).collect()
}

fn main() {}
