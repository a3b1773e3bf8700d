use staleproof::{KeyPart, cached};

#[derive(KeyPart)]
struct Id(u64);

#[cached(batch, ttl = "15m")]
async fn squares(ids: &[Id]) -> Vec<Option<u64>> {
    ids.iter().map(|id| Some(id.0 * id.0)).collect()
}

fn main() {}
