use staleproof::{cached, invalidates};

struct Service {
    cache: staleproof::Cache,
}

impl Service {
    #[cached(tll = "15m")]
    async fn employees(&self, owner_id: i64) -> i64 {
        owner_id
    }

    #[invalidates(Self::employees(id))]
    async fn update(&self, id: i64) {}
}

fn main() {}
