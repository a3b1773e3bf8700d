use staleproof::{cached, invalidates};

struct Service {
    cache: staleproof::Cache,
}

impl Service {
    #[cached(ttl = "15m")]
    async fn employees(&self, owner_id: i64) -> i64 {
        owner_id
    }

    #[invalidates(Self::employees(id), unreachable = "refuse")]
    async fn update(&self, id: i64) -> Result<i64, String> {
        Ok(id)
    }
}

fn main() {}
