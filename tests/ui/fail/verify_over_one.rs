use staleproof::cached;

struct Service {
    cache: staleproof::Cache,
}

impl Service {
    #[cached(ttl = "15m")]
    async fn employees(&self, owner_id: i64) -> i64 {
        owner_id
    }

    #[cached(ttl = "15m", verify = 5)]
    async fn find(&self, id: i64) -> i64 {
        id
    }
}

fn main() {}
