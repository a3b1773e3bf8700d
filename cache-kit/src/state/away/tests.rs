//! What is known of a removal, and for how long.

use super::*;

const HOUR: u64 = 3600 * 1_000_000;

fn spot(name: &str) -> Spot {
    Spot { at: At { place: name.to_owned(), name: name.to_owned() }, list: None }
}

fn record(written: u64) -> Record {
    let left = Duration::from_micros(HOUR);
    Record { version: [1; 32], bytes: vec![1], left, written, is_of_this_life: true }
}

fn seen(life: u8, now: u64, record: Option<Record>) -> Seen {
    Seen { incarnation: vec![life; 16], now, record, was_removed: false }
}

/// It may have been removed so long ago that Redis has forgotten that, though after it was last seen here.
#[test]
fn what_may_have_been_removed_and_forgotten_does_not_come_back() {
    let (away, spot) = (Away::new(10), spot("here"));
    away.note(&spot, &seen(1, HOUR, Some(record(HOUR))));
    away.touched(&spot);
    let soon = HOUR + HOUR + REMEMBERED;
    assert!(away.outlived(&spot.at, &seen(1, soon, None)).is_some(), "it can only have ended");
    assert!(away.outlived(&spot.at, &seen(1, soon + 1, None)).is_none());
    assert!(away.outlived(&spot.at, &Seen { was_removed: true, ..seen(1, soon, None) }).is_none());
    // Nor with a server that restarted, and has lost nothing.
    assert!(away.lost(&spot.at, &seen(2, soon, None)).is_some());
    assert!(away.lost(&spot.at, &seen(2, soon + 1, None)).is_none());
}

/// An answer from before a removal may be noted after it.
#[test]
fn what_was_removed_here_is_not_remembered_by_a_late_answer() {
    let (away, spot) = (Away::new(10), spot("here"));
    away.note(&spot, &seen(1, HOUR, Some(record(HOUR))));
    away.removed(&spot, &seen(1, HOUR + 10, Some(record(HOUR))));
    away.note(&spot, &seen(1, HOUR + 5, Some(record(HOUR))));
    assert!(away.known_for(&spot.at, None).is_none());
    let new = Record { version: [2; 32], ..record(HOUR + 20) };
    away.note(&spot, &seen(1, HOUR + 20, Some(new.clone())));
    away.note(&spot, &seen(1, HOUR + 15, None));
    assert_eq!(away.known_for(&spot.at, None).map(|record| record.version), Some(new.version));
}
