use staleproof::{Cache, cached};

struct Users {
    cache: Cache,
}

impl Users {
    #[cached(ttl = "15m", pin = true)]
    async fn with_a_value(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "15m", pin, l1 = "off")]
    async fn without_copies(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "15m", l1 = "off", pin)]
    async fn the_other_way_round(&self, id: i64) -> i64 {
        id
    }
}

fn main() {}
