use staleproof::{cached, invalidates};

struct Service {
    cache: staleproof::Cache,
}

impl Service {
    #[cached(ttl = "15m")]
    async fn employees(&self, owner_id: i64) -> i64 {
        owner_id
    }

    #[cached(ttl = "15m")]
    async fn page(&self, owner_id: i64, name: &str, page: u32) -> String {
        format!("{owner_id}{name}{page}")
    }

    #[invalidates("")]
    async fn update(&self, id: i64, name: String) -> Result<i64, String> {
        drop(name);
        Ok(id)
    }
}

fn main() {}
