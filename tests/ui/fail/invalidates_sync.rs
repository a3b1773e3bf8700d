use staleproof::invalidates;

#[invalidates("contract_*")]
fn update() {}

fn main() {}
