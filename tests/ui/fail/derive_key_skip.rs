use staleproof::KeyPart;

#[derive(KeyPart)]
struct Filter {
    id: i64,
    #[key(skip)]
    note: String,
}

fn main() {}
