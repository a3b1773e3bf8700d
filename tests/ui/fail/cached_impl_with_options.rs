use staleproof::cached_impl;

struct Service;

trait Directory {}

#[cached_impl(ttl = "15m")]
impl Directory for Service {}

fn main() {}
