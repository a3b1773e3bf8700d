use staleproof::cached;

#[cached(ttl = "15x", jitter = 2, key_prefix = "a:b", verson = 2)]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
