use staleproof::cached;

#[cached(batch, ttl = "15m")]
async fn squares(ids: &[u64]) -> Vec<u64> {
    ids.iter().map(|id| id * id).collect()
}

fn main() {}
