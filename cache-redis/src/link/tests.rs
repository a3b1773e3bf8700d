//! The gate at its weakest points, which no test from outside can hit at will.

use cache_core::{Target, store::HolderId};
use test_support::{shared_url, unique};

use super::*;

fn link() -> Link {
    let config = RedisConfig::new(shared_url()).namespace(unique("test")).call_timeout(Duration::from_millis(500));
    let address = config.address().expect("a good URL");
    let names = Names::new(&config.namespace);
    Link::new(&config, address, names, None)
}

fn targets() -> [Target; 1] {
    [Target::Entry("page:7:1".to_owned())]
}

fn items() -> Vec<Item> {
    Item::of(&targets(), None)
}

#[tokio::test]
async fn nothing_is_read_while_the_journal_holds_anything() {
    let link = link();
    let session = Arc::new(link.open().await.expect("Redis is there"));
    // An invalidation that was sent over the connection before this one has failed just now.
    link.gate().writer = Some(Arc::clone(&session));
    link.journal_unanswered(&Arc::new(other_session(&link).await), &items(), &CallError::Timeout { strikes: 1 });
    assert_eq!(link.make_current(&session), Some(false));
    assert!(matches!(link.session(), Err(StoreError::Unavailable)));
    assert!(matches!(*link.status().borrow(), Status::Down { .. }));
    assert_eq!(link.replay(&session).await.expect("Redis answers"), 1);
    assert_eq!(link.make_current(&session), Some(true));
    assert!(link.session().is_ok());
    // And with one that fails while it is in use, the gate closes again, whichever connection it was sent over.
    link.journal_unanswered(&Arc::new(other_session(&link).await), &items(), &CallError::Timeout { strikes: 1 });
    assert!(matches!(link.session(), Err(StoreError::Unavailable)));
    assert_eq!(link.make_current(&session), None, "it was given up");
}

async fn other_session(link: &Link) -> Session {
    link.open().await.expect("Redis is there")
}

#[tokio::test]
async fn an_acknowledgement_of_a_connection_that_was_given_up_does_not_count() {
    let link = link();
    link.join().await.expect("Redis is there");
    let old = link.session().expect("joined");
    assert!(link.count_acknowledged(&old, &items()));
    assert_eq!(link.gate().ring.items(), items());
    link.drop_session(&old, &mut link.gate(), &"a test");
    let late = Item::of(&[Target::Entry("page:7:2".to_owned())], Some(HolderId::new()));
    assert!(!link.count_acknowledged(&old, &late));
    link.join().await.expect("Redis is there");
    assert!(!link.count_acknowledged(&old, &late), "the new connection's server may not have heard of it");
    let said_again = link.invalidate(&[late[0].target.clone()], late[0].holder).await;
    assert_eq!(said_again, Outcome::Applied);
    assert!(link.gate().ring.items().contains(&late[0]));
}

#[tokio::test]
async fn what_is_replayed_is_remembered_for_the_next_server() {
    let link = link();
    assert_eq!(link.invalidate(&targets(), None).await, Outcome::Journaled);
    link.join().await.expect("Redis is there");
    assert_eq!(link.gate().ring.items(), items());
    assert!(link.gate().journal.is_empty());
}

#[tokio::test]
async fn a_replay_that_is_dropped_midway_loses_nothing() {
    let link = link();
    assert_eq!(link.invalidate(&targets(), None).await, Outcome::Journaled);
    let session = Arc::new(link.open().await.expect("Redis is there"));
    {
        let mut replay = std::pin::pin!(link.replay(&session));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(replay.as_mut().poll(&mut context).is_pending(), "it waits for Redis");
        assert!(link.gate().journal.is_empty(), "taken out");
    }
    assert_eq!(link.gate().journal.take(), items());
}
