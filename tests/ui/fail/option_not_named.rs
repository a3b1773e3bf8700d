use staleproof::cached;

#[cached("15m", ttl = "15m")]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
