//! Every cached function is known before `main`, and two with one prefix are found.

use staleproof::{Cache, cached, registry};

struct Repo<T>(T);

impl Repo<u8> {
    #[cached(ttl = "1h 30m", tags("a:{id}", "b"), cache = Cache::global())]
    async fn get(&self, id: i64) -> i64 {
        let _ = self.0;
        id
    }
}

impl Repo<u16> {
    #[cached(ttl = 60, cache = Cache::global())]
    async fn get(&self, id: i64) -> i64 {
        let _ = self.0;
        id + 1
    }
}

mod outer {
    #[staleproof::cached(ttl = "1m", key_prefix = "registry_same")]
    pub(super) async fn first() -> u8 {
        1
    }

    pub(super) struct Service;

    impl Service {
        #[staleproof::cached(ttl = "1m", key_prefix = "registry_same", cache = Self::cache())]
        pub(super) async fn second(&self) -> u8 {
            2
        }

        fn cache() -> staleproof::Cache {
            staleproof::Cache::global()
        }
    }
}

#[tokio::test]
async fn a_clash_is_found_and_serves_nothing_wrong() {
    // The implicit global cache is not checked: a cached method never panics. It must not mix the two up either.
    assert_eq!(outer::first().await, 1);
    assert_eq!(outer::Service.second().await, 2);
    let clash = registry::check().unwrap_err();
    assert_eq!(
        clash.to_string(),
        "the cached functions `macros_registry::outer::first` (tests/macros_registry.rs:24) and \
         `macros_registry::outer::Service::second` (tests/macros_registry.rs:32) have one key prefix, `registry_same`: \
         give one of them another `key_prefix`"
    );
}

#[tokio::test]
async fn methods_of_two_instances_of_a_type_do_not_clash() {
    assert_eq!(Repo(1_u8).get(7).await, 7);
    assert_eq!(Repo(1_u16).get(7).await, 8);
    let sites = registry::sites();
    let gets: Vec<_> = sites.iter().filter(|site| site.prefix() == "macros_registry.Repo.get").collect();
    assert_eq!(gets.len(), 2);
    assert_eq!((gets[0].ttl(), gets[0].tags()), ("1h 30m", ["a:{id}", "b"].as_slice()));
    assert_eq!((gets[1].ttl(), gets[1].line()), ("60", 16));
    assert_eq!(sites.len(), 4);
}
