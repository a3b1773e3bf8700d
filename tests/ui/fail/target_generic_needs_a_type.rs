use staleproof::{cached, keys};

#[cached(ttl = "15m")]
async fn name_of<T>() -> String {
    std::any::type_name::<T>().to_owned()
}

fn targets() -> Vec<staleproof::Target> {
    keys![name_of()]
}

fn main() {}
