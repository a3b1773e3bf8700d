use staleproof::{Cache, cached};

struct Users {
    cache: Cache,
}

impl Users {
    #[cached(ttl = "15m", l1 = "lease")]
    async fn misspelt(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "15m", l1 = "strict")]
    async fn unknown(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "15m", l1 = "5 parsecs")]
    async fn no_duration(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "15m", l1 = "0s")]
    async fn never(&self, id: i64) -> i64 {
        id
    }
}

impl Users {
    #[cached(ttl = "15m", l1 = staleproof::L1::Leased)]
    async fn by_its_type(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "15m", l1 = validated)]
    async fn without_quotes(&self, id: i64) -> i64 {
        id
    }
}

fn main() {}
