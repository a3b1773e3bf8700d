use staleproof::{Cache, cached};

struct Prices {
    cache: Cache,
}

impl Prices {
    #[cached(ttl = "15m")]
    async fn price(&self, id: i64) -> i64 {
        id
    }

    async fn warm(&self) {
        self.cache.warm((0..10).map(|id| self.price(id))).run(|_| {}).await;
    }
}

fn main() {}
