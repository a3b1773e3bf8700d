use staleproof::cached;

#[cached(ttl = "15m")]
struct Service;

fn main() {}
