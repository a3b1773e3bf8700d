use staleproof::cached;

#[cached(ttl = "15m", l1 = "off")]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
