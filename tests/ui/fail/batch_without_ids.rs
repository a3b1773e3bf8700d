use std::collections::HashMap;

use staleproof::cached;

#[cached(batch, ttl = "15m")]
async fn squares(id: u64) -> HashMap<u64, u64> {
    HashMap::from([(id, id * id)])
}

fn main() {}
