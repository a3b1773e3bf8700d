use staleproof::invalidates;

#[invalidates("contract *")]
async fn update(id: i64) {
    let _ = id;
}

fn main() {}
