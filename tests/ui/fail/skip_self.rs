use staleproof::cached;

#[cached(ttl = "15m", skip(self))]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
