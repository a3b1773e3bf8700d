use staleproof::cached;

#[cached(ttl = "15m", negative_ttl = "1m")]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
