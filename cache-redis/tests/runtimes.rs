//! A store that outlives the runtime that it was connected on.

mod common;

use std::time::Duration;

use cache_core::{Outcome, Store, store::Link};
use common::*;
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn a_store_that_outlives_its_runtime_joins_again_on_the_next() {
    let first = runtime();
    let ground = first.block_on(async {
        let ground = Ground::shared().await;
        fill(&ground.store, &page(7, 1), "one").await;
        fill(&ground.store, &page(7, 2), "two").await;
        ground
    });
    drop(first);
    let store = &ground.store;
    runtime().block_on(async {
        // Over the connection that died with the first runtime.
        assert_eq!(store.invalidate(&[page(7, 1).into_entry()]).await.unwrap(), Outcome::Journaled);
        let took = until(store, true).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        let other = ground.another().await;
        assert_eq!(hit(&other, &page(7, 1)).await, None, "what came in between was replayed");
        assert_eq!(hit(store, &page(7, 2)).await.as_deref(), Some("two"));
        invalidate(store, page(7, 2).into_entry()).await;
        assert_eq!(hit(&other, &page(7, 2)).await, None);
    });
}

#[test]
fn whoever_only_asks_for_the_link_sees_it_come_back() {
    let first = runtime();
    let ground = first.block_on(Ground::shared());
    drop(first);
    runtime().block_on(async {
        let mut link = ground.store.link().expect("Redis can be out of reach");
        let lost = link.wait_for(|link| matches!(link, Link::Down { .. }));
        drop(tokio::time::timeout(Duration::from_secs(2), lost).await.expect("the dead connection is found out"));
        assert!(until(&ground.store, true).await < Duration::from_secs(2));
    });
}

#[test]
fn a_store_may_outlive_any_number_of_runtimes() {
    let ground = runtime().block_on(Ground::shared());
    for n in 0..5 {
        runtime().block_on(async {
            let _ = ground.store.read(&page(7, n)).await;
            until(&ground.store, true).await;
            fill(&ground.store, &page(7, n), "one").await;
        });
    }
}
