//! Reading, loading and filling entries in a real Redis.

mod common;

use std::time::Duration;

use cache_core::{
    Key, Store, Tag, Target,
    store::{Acquired, Filled, Purpose, Read},
};
use common::*;
use test_support::{cli, shared_url};

#[tokio::test]
async fn a_value_that_was_filled_is_hit() {
    let store = connect(shared_url()).await;
    let key = page(7, 1);
    assert!(matches!(
        store.read(&key).await.unwrap(),
        Read::Miss { loading: None }
    ));
    let lease = lease(&store, &key).await;
    assert!(
        matches!(store.read(&key).await.unwrap(), Read::Miss { loading: Some(id) } if id == lease.id)
    );
    assert_eq!(
        store.fill(&key, &lease, bytes("one"), TTL).await.unwrap(),
        Filled::Stored
    );
    let Read::Hit(stored) = store.read(&key).await.unwrap() else {
        panic!("a miss")
    };
    assert_eq!(
        (text(&stored.payload).as_str(), stored.id),
        ("one", lease.id)
    );
}
