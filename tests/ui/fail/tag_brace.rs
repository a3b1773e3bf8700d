use staleproof::cached;

#[cached(ttl = "15m", tags("owner:{id"))]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
