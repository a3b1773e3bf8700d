use staleproof::cached;

#[cached(ttl = "15m")]
async fn find(id: i64) -> impl std::fmt::Display {
    id
}

fn main() {}
