use staleproof::{cached, invalidates};

struct Service {
    cache: staleproof::Cache,
}

impl Service {
    #[cached(ttl = "15m")]
    async fn employees(&self, owner_id: i64) -> i64 {
        owner_id
    }

    #[invalidates("employees:*", hold = "10s")]
    async fn update(&self, id: i64) -> i64 {
        id
    }
}

fn main() {}
