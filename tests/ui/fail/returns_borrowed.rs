use staleproof::cached;

#[cached(ttl = "15m")]
async fn find(id: i64) -> &'static str {
    let _ = id; "x"
}

fn main() {}
