use staleproof::cached;

#[derive(Clone)]
struct Page;

#[cached(ttl = "15m")]
async fn find(id: i64) -> Result<Page, String> {
    let _ = id;
    Ok(Page)
}

fn main() {}
