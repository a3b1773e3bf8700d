use staleproof::cached;

#[cached(ttl = "15m", key(id), skip(id))]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
