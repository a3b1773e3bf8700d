use std::collections::HashMap;

use staleproof::{Cache, cached};

struct Users {
    cache: Cache,
}

impl Users {
    #[cached(ttl = "15m")]
    async fn user(&self, id: i64) -> i64 {
        id
    }

    #[cached(batch = user)]
    async fn users(&self, ids: &[i64]) -> HashMap<i64, i64> {
        ids.iter().map(|id| (*id, *id)).collect()
    }
}

fn main() {}
