use staleproof::cached;

#[cached(ttl = "15m", jitter = 10)]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
