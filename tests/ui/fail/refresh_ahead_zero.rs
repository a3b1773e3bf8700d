use staleproof::cached;

#[cached(ttl = "15m", refresh_ahead = 0)]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
