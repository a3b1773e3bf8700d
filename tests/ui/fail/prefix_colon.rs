use staleproof::cached;

#[cached(ttl = "15m", key_prefix = "contract:page")]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
