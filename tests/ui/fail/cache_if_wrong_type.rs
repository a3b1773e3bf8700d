use staleproof::cached;

#[cached(ttl = "15m", cache_if = |value| *value + 1)]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
