use staleproof::keys;

fn targets() -> Vec<staleproof::Target> {
    keys![|ok| "contract_*"]
}

fn main() {}
