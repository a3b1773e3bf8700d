use staleproof::cached_impl;

trait Directory {}

#[cached_impl]
impl<T> Directory for T {}

fn main() {}
