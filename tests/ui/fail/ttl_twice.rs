use staleproof::cached;

#[cached(ttl = "1m", ttl = "2m")]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
