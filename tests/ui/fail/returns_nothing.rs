use staleproof::cached;

#[cached(ttl = "15m")]
async fn find(id: i64) {
    let _ = id;
}

fn main() {}
