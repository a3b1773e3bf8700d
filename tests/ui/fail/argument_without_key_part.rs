use staleproof::cached;

struct Pool;

#[cached(ttl = "15m")]
async fn find(pool: &Pool, id: i64) -> i64 {
    let _ = pool;
    id
}

fn main() {}
