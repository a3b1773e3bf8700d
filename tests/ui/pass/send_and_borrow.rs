//! Futures are `Send`, borrow what the function borrows, and take what it takes.
use std::{collections::BTreeMap, sync::Arc};

use staleproof::{Cache, cached, invalidates};

struct Db<'a> {
    url: &'a str,
}

struct Service<'db> {
    cache: Cache,
    db: &'db Db<'db>,
}

impl<'db> Service<'db> {
    #[cached(ttl = "1m")]
    async fn by_url(&self, url: &'db str, rest: Option<&'db str>) -> Result<Arc<BTreeMap<String, u8>>, String> {
        Ok(Arc::new(BTreeMap::from([(format!("{url}{rest:?}{}", self.db.url), 1)])))
    }

    #[cached(ttl = "1m", cache = self.cache)]
    async fn exclusive(&mut self, id: u8) -> u8 {
        self.db = self.db;
        id
    }

    #[cached(ttl = "1m")]
    async fn consuming(self, id: u8) -> u8 {
        drop(self);
        id
    }

    #[invalidates(Self::by_url(&local, ..), Self::exclusive(1), Self::by_url(text, Some(text)))]
    async fn touch(&self, local: String, text: &str) {
        drop(local);
        let _ = text;
    }
}

fn is_send<T: Send>(_: T) {}

fn check(service: &Service<'_>) {
    is_send(service.by_url("x", None));
    is_send(service.touch(String::new(), "x"));
}

fn main() {
    let _ = check;
}
