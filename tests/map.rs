//! The invalidation map: complete without running a method, right about who drops what, and a check for orphans.

use staleproof::{Cache, cached, cached_impl, invalidates, map, map::How};

struct Contracts {
    cache: Cache,
}

struct New {
    owner: i64,
}

impl Contracts {
    #[cached(ttl = "15m", key_prefix = "map_contract")]
    async fn contract(&self, id: i64) -> i64 {
        id
    }

    #[cached(ttl = "10m", key_prefix = "map_page", tags("map_owner:{owner}"))]
    async fn page(&self, owner: i64, page: u32) -> i64 {
        owner + i64::from(page)
    }

    #[invalidates(Self::contract(id), Self::page(new.owner, ..), tag("map_nobody:{id}"))]
    async fn write(&self, id: i64, new: New) -> i64 {
        id + new.owner
    }

    #[invalidates(tag("map_owner:{owner}"), |found| other::Contracts::contract(*found))]
    #[invalidates("map_p*", on = "always")]
    async fn move_owner(&self, owner: i64) -> i64 {
        owner
    }
}

mod other {
    use staleproof::{Cache, cached, invalidates};

    pub(super) struct Contracts {
        pub(super) cache: Cache,
    }

    impl Contracts {
        #[cached(ttl = "1h", key_prefix = "map_other")]
        pub(super) async fn contract(&self, id: i64) -> i64 {
            id
        }

        #[cached(ttl = "1d", key_prefix = "map_orphan")]
        pub(super) async fn settings(&self) -> i64 {
            7
        }

        #[invalidates(Contracts::contract(id))]
        pub(super) async fn write(&self, id: i64) -> i64 {
            id
        }
    }
}

#[allow(async_fn_in_trait, reason = "a test")]
trait Directory {
    async fn find(&self, id: i64) -> i64;
    async fn store(&self, id: i64);
}

struct Users<T> {
    cache: Cache,
    of: T,
}

#[cached_impl]
impl<T> Directory for Users<T> {
    #[cached(ttl = "5m", key_prefix = "map_user")]
    async fn find(&self, id: i64) -> i64 {
        id
    }

    #[invalidates(<Self as Directory>::find(id))]
    async fn store(&self, id: i64) {
        let _ = (&self.of, id);
    }
}

fn dropped_by(prefix: &str) -> Vec<(How, String, String)> {
    let map = map();
    let drops =
        map.dropped_by(prefix).map(|(writer, drops)| (drops.how, writer.function.clone(), drops.target.clone()));
    drops.collect()
}

fn by(how: How, function: &str, target: &str) -> (How, String, String) {
    (how, format!("map.{function}"), target.to_owned())
}

#[test]
fn every_function_has_its_writers() {
    assert_eq!(dropped_by("map_contract"), [by(How::Entry, "Contracts.write", "Self::contract(id)")]);
    assert_eq!(
        dropped_by("map_page"),
        [
            by(How::Node, "Contracts.write", "Self::page(new.owner, ..)"),
            by(How::Tag, "Contracts.move_owner", "map_owner:{owner}"),
            by(How::Glob, "Contracts.move_owner", "map_p*"),
        ]
    );
    assert_eq!(
        dropped_by("map_other"),
        [
            by(How::Entry, "Contracts.move_owner", "other::Contracts::contract(*found)"),
            by(How::Entry, "other.Contracts.write", "Contracts::contract(id)"),
        ]
    );
    assert_eq!(dropped_by("map_user"), [by(How::Entry, "Users.store", "<Self as Directory>::find(id)")]);
}

#[test]
fn orphans_and_targets_that_hit_nothing_are_found() {
    let map = map();
    assert_eq!(map.orphans().iter().map(|orphan| &*orphan.prefix).collect::<Vec<_>>(), ["map_orphan"]);
    assert_eq!(map.idle().iter().map(|(_, drops)| &*drops.target).collect::<Vec<_>>(), ["map_nobody:{id}"]);
    assert_eq!(map.check_orphans(["map_orphan"]), Ok(()));

    let error = map.check_orphans([]).unwrap_err().to_string();
    assert!(error.contains("`map::other::Contracts::settings` (tests/map.rs:"), "{error}");
    assert!(error.contains("is cached for 1d as `map_orphan`, and no `#[invalidates]` drops it"), "{error}");
    let error = map.check_orphans(["map_orphan", "map_page"]).unwrap_err().to_string();
    assert_eq!(error, "`map_page` is listed as a known orphan and is none: take it off the list\n");
}

#[test]
fn it_is_text_and_a_drawing() {
    let map = map();
    let text = map.to_string();
    assert!(text.contains("map_orphan  1d"), "{text}");
    assert!(text.contains("\n  node  map::Contracts::write  Self::page(new.owner, ..)\n"), "{text}");
    assert!(text.contains("tag map_nobody:{id} of map::Contracts::write hits nothing"), "{text}");

    let mermaid = map.to_mermaid();
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert!(mermaid.contains("-->|tag, glob| "), "one line for each pair: {mermaid}");
    assert!(mermaid.contains("classDef orphan"), "{mermaid}");
    let dot = map.to_dot();
    assert!(dot.contains("label=\"map_orphan\\n1d\", color=red"), "{dot}");
}

#[tokio::test]
async fn methods_still_do_what_they_did() {
    let contracts = Contracts { cache: Cache::memory() };
    let others = other::Contracts { cache: contracts.cache.clone() };
    let users = Users { cache: contracts.cache.clone(), of: () };
    contracts.contract(1).await;
    contracts.page(2, 3).await;
    others.contract(1).await;
    others.settings().await;
    users.find(1).await;
    contracts.write(1, New { owner: 2 }).await;
    contracts.move_owner(1).await;
    others.write(1).await;
    users.store(1).await;
    assert_eq!(contracts.cache.stats().total.loads, 5);
}
