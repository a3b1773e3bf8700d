use staleproof::cached;

#[cached(ttl = "15m", version: 2)]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
