//! The memory store keeps every rule of a store, by the machine's clock and by a manual one.

use std::sync::Arc;

use cache_core::{
    Clock, ManualClock, MemoryStore, Store,
    conformance::{self, Subject},
};

#[tokio::test]
async fn the_memory_store_keeps_every_rule() {
    let time = ManualClock::new();
    let clock = Clock::from(&time);
    Subject::new(move || {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with_clock(64 << 20, clock.clone()));
        async { store }
    })
    .passing_time(move |span| {
        time.advance(span);
        async {}
    })
    .run()
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_keeps_every_rule_on_many_threads_in_real_time() {
    conformance::run(|| async { Arc::new(MemoryStore::new(64 << 20)) as Arc<dyn Store> }).await;
}

#[test]
fn rules_have_names_of_their_own() {
    let mut names: Vec<_> = conformance::cases().map(conformance::Case::name).collect();
    names.sort_unstable();
    assert!(names.len() > 40);
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}
