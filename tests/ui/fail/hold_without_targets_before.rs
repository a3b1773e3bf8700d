use staleproof::{cached, invalidates};

struct Service {
    cache: staleproof::Cache,
}

impl Service {
    #[cached(ttl = "15m")]
    async fn employees(&self, owner_id: i64) -> i64 {
        owner_id
    }

    #[invalidates(hold = "10s", |id| Self::employees(id))]
    async fn update(&self, id: i64) -> i64 {
        id
    }
}

fn main() {}
