use staleproof::cached;

struct Service {
    cache: staleproof::Cache,
}

trait Directory {
    async fn find(&self, id: i64) -> i64;
}

impl Directory for Service {
    #[cached(ttl = "15m")]
    async fn find(&self, id: i64) -> i64 {
        id
    }
}

fn main() {}
