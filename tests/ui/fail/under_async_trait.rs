use staleproof::{cached, cached_impl};

struct Service {
    cache: staleproof::Cache,
}

#[async_trait::async_trait]
trait Directory {
    async fn find(&self, id: i64) -> i64;
}

#[async_trait::async_trait]
#[cached_impl]
impl Directory for Service {
    #[cached(ttl = "15m")]
    async fn find(&self, id: i64) -> i64 {
        id
    }
}

fn main() {}
