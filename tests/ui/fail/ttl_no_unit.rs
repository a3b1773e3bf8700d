use staleproof::cached;

#[cached(ttl = "15")]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
