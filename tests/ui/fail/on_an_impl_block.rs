use staleproof::cached;

struct Service;

#[cached(ttl = "15m")]
impl Service {}

fn main() {}
