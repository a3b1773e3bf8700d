use staleproof::cached;

#[cached(ttl = String::new())]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
