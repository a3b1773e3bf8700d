use staleproof::cached;

trait Directory {
    #[cached(ttl = "15m")]
    async fn find(&self, id: i64) -> i64;
}

fn main() {}
