use staleproof::cached;

#[cached(ttl = "15m", shards = 4)]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
