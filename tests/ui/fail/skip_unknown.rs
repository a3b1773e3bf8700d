use staleproof::cached;

#[cached(ttl = "15m", skip(ids))]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
