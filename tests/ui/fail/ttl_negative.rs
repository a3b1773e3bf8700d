use staleproof::cached;

#[cached(ttl = -5)]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
