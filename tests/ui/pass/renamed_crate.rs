//! Nothing but `crate = path` is known of where the crate is.
mod vendored {
    pub use staleproof as cache;
}
use vendored::cache::{self, Cache};

struct Service {
    store: Cache,
}

#[derive(cache::KeyPart)]
#[key(crate = crate::vendored::cache)]
pub enum Kind {
    Unit,
    Tuple(u8, String),
    Named { id: u8, segment: u8, items: u8 },
}

impl Service {
    #[cache::cached(crate = crate::vendored::cache, ttl = "1m", cache = self.store)]
    pub async fn find(&self, kind: Kind) -> u8 {
        matches!(kind, Kind::Unit).into()
    }

    #[cache::invalidates(crate = crate::vendored::cache, cache = &self.store, Self::find(Kind::Unit))]
    pub async fn touch(&self) {
        let _ = cache::keys![crate = crate::vendored::cache, Self::find(..)];
    }
}

fn main() {}
