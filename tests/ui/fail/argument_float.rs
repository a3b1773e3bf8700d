use staleproof::cached;

#[cached(ttl = "15m")]
async fn find(price: f64) -> i64 {
    price as i64
}

fn main() {}
