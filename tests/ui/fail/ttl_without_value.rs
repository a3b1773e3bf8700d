use staleproof::cached;

#[cached(ttl)]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
