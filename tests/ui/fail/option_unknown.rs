use staleproof::cached;

#[cached(tll = "15m")]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
