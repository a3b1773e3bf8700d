//! Two functions with one `key_prefix`: building a cache is an error that names both.

use staleproof::{BuildError, Cache, cached};

mod contracts {
    use super::cached;

    #[cached(ttl = "1m", key_prefix = "employees")]
    pub(crate) async fn employees(owner: u32) -> Vec<String> {
        vec![owner.to_string()]
    }
}

mod shifts {
    use super::cached;

    #[cached(ttl = "5m", key_prefix = "employees")]
    pub(crate) async fn on_duty(object: u32) -> Vec<String> {
        vec![object.to_string()]
    }
}

#[tokio::test]
async fn building_a_cache_names_both_functions() {
    let error = Cache::builder().build().expect_err("the prefixes clash");
    assert!(matches!(error, BuildError::PrefixClash(_)), "{error:?}");
    let text = error.to_string();
    for part in ["contracts::employees", "shifts::on_duty", "tests/prefix_clash.rs", "employees"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let connected = Cache::builder().redis("redis://127.0.0.1:1").connect().await;
    assert!(matches!(connected, Err(BuildError::PrefixClash(_))));
}

#[test]
fn the_embedded_cache_panics_with_the_same_words() {
    let panic = std::panic::catch_unwind(Cache::memory).expect_err("the prefixes clash");
    let text = panic.downcast_ref::<String>().expect("a message");
    assert!(text.contains("contracts::employees") && text.contains("shifts::on_duty"), "{text}");
}

#[tokio::test]
async fn the_functions_themselves_never_panic() {
    assert_eq!(contracts::employees(1).await, ["1"]);
    assert_eq!(shifts::on_duty(2).await, ["2"]);
}
