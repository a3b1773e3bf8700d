use std::collections::HashMap;

use staleproof::cached;

#[cached(ttl = "15m")]
async fn square(id: u64) -> Option<u64> {
    Some(id * id)
}

#[cached(batch = square)]
async fn squares(ids: &[i64]) -> HashMap<i64, u64> {
    ids.iter().map(|id| (*id, id.unsigned_abs().pow(2))).collect()
}

fn main() {}
