use staleproof::cached_impl;

#[cached_impl]
async fn find() {}

fn main() {}
