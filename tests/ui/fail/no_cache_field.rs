use staleproof::cached;

struct Service;

impl Service {
    #[cached(ttl = "15m")]
    async fn find(&self, id: i64) -> i64 {
        id
    }
}

fn main() {}
