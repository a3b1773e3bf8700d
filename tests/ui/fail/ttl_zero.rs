use staleproof::cached;

#[cached(ttl = "0s")]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
