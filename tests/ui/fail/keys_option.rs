use staleproof::keys;

fn targets() -> Vec<staleproof::Target> {
    keys!["contract_*", on = "ok"]
}

fn main() {}
