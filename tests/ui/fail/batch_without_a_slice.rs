use std::collections::HashMap;

use staleproof::cached;

#[cached(batch, ttl = "15m")]
async fn squares(ids: Vec<u64>) -> HashMap<u64, u64> {
    ids.into_iter().map(|id| (id, id * id)).collect()
}

fn main() {}
