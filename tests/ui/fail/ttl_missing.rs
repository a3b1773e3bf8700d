use staleproof::cached;

#[cached()]
async fn find(id: i64) -> i64 {
    id
}

fn main() {}
