use std::collections::HashMap;

use staleproof::{Cache, cached};

struct Squares {
    cache: Cache,
}

impl Squares {
    #[cached(batch, ttl = "15m")]
    async fn squares(self, ids: &[u64]) -> HashMap<u64, u64> {
        ids.iter().map(|id| (*id, id * id)).collect()
    }
}

fn main() {}
