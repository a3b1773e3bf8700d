use std::collections::HashMap;

use staleproof::cached;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Id(u64);

#[cached(batch, ttl = "15m")]
async fn squares(ids: &[Id]) -> HashMap<Id, u64> {
    ids.iter().map(|id| (id.clone(), id.0 * id.0)).collect()
}

fn main() {}
