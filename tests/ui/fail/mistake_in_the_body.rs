use staleproof::cached;

#[cached(ttl = "15m")]
async fn find(id: i64) -> Result<i64, String> {
    let text: String = id;
    Ok(text)
}

fn main() {}
