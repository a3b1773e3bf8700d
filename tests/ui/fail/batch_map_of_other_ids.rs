use std::collections::HashMap;

use staleproof::cached;

#[cached(batch, ttl = "15m")]
async fn lengths(names: &[&str]) -> HashMap<String, usize> {
    names.iter().map(|name| (name.to_string(), name.len())).collect()
}

fn main() {}
