use staleproof::KeyPart;

#[derive(KeyPart)]
union Bits {
    a: u32,
    b: i32,
}

fn main() {}
