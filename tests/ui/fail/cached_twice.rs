use staleproof::cached;

#[cached(ttl = "15m")]
#[cached(ttl = "1m")]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
