use staleproof::invalidates;

#[invalidates(tags("owner:{id}"))]
async fn update(id: i64) {
    let _ = id;
}

fn main() {}
