use std::collections::HashMap;

use staleproof::{KeyPart, cached};

#[derive(Clone, PartialEq, Eq, KeyPart)]
struct Id(u64);

#[cached(batch, ttl = "15m")]
async fn squares(ids: &[Id]) -> HashMap<Id, u64> {
    let _ = ids;
    todo!()
}

fn main() {}
