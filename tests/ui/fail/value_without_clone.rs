use staleproof::cached;

#[derive(serde::Serialize, serde::Deserialize)]
struct Page;

#[cached(ttl = "15m")]
async fn find(id: i64) -> Option<Page> {
    let _ = id;
    Some(Page)
}

fn main() {}
