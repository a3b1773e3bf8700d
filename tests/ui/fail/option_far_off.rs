use staleproof::cached;

#[cached(ttl = "15m", banana)]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
