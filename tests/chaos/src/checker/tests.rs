use super::*;
use crate::fact::{Method, Snapshot};

const S: Nanos = 1_000_000_000;

fn write(version: i64, end: Nanos, outcome: Told) -> Fact {
    let commit =
        Commit { row: 1, version, kind: Kind::Plain, called: end - 3, begin: end - 3, at: end - 2, end: end - 1 };
    Fact::Write(Write { commit, begin: end - 4, end, outcome })
}

fn read(version: i64, begin: Nanos, loaded: Nanos, degraded: bool) -> Read {
    let snapshot = Snapshot {
        rows: vec![(1, version)],
        life: 9,
        begin: loaded,
        end: loaded + 1,
        degraded,
        padding: String::new(),
    };
    Read { method: Method::Row, begin, end: begin + 1, degraded, snapshot }
}

fn is_stale(book: &Book, life: Life, read: &Read) -> bool {
    book.judge(life, read).is_err()
}

#[test]
fn a_read_is_stale_only_if_the_invalidation_had_returned_before_it_began() {
    let mut book = Book::new(Degraded::Memory, Topology::Single, Copies::Off);
    book.note(1, write(2, 10 * S, Told::Applied));
    assert!(is_stale(&book, 2, &read(1, 10 * S + 1, 9 * S, false)));
    assert!(!is_stale(&book, 2, &read(1, 10 * S, 9 * S, false)), "it had begun before");
    assert!(!is_stale(&book, 2, &read(2, 11 * S, 9 * S, false)));
}

#[test]
fn facts_may_come_in_any_order() {
    let mut book = Book::new(Degraded::Memory, Topology::Single, Copies::Off);
    book.note(1, write(4, 20 * S, Told::Applied));
    book.note(1, write(3, 30 * S, Told::Applied));
    book.note(1, write(2, 10 * S, Told::Applied));
    for (at, floor) in [(5, 0), (15, 2), (25, 4), (35, 4)] {
        assert_eq!(book.everywhere[1].at(at * S), floor, "at {at}");
    }
}

#[test]
fn what_is_journaled_counts_in_its_own_instance_at_once_and_elsewhere_after_the_replay() {
    let mut book = Book::new(Degraded::Memory, Topology::Single, Copies::Off);
    book.note(1, write(2, 10 * S, Told::Journaled));
    assert!(is_stale(&book, 1, &read(1, 11 * S, 9 * S, true)));
    assert!(!is_stale(&book, 2, &read(1, 11 * S, 9 * S, false)));
    book.note(1, Fact::InForce { row: 1, version: 2, at: 12 * S });
    assert!(is_stale(&book, 2, &read(1, 13 * S, 9 * S, false)));
}

#[test]
fn in_degraded_mode_the_bound_counts_or_nothing_is_stale() {
    for (mode, is_bounded) in [(Degraded::Memory, true), (Degraded::Bypass, false)] {
        let mut book = Book::new(mode, Topology::Single, Copies::Off);
        book.note(1, write(2, 10 * S, Told::Applied));
        assert_eq!(is_stale(&book, 9, &read(1, 11 * S, 10 * S - 1, true)), !is_bounded);
        assert!(is_stale(&book, 2, &read(1, 11 * S, 10 * S - 1, true)), "loaded by another process");
        assert!(is_stale(&book, 9, &read(1, 13 * S, 10 * S - 1, true)), "beyond the bound");
    }
}

#[test]
fn a_killed_writer_counts_only_if_it_held_and_nothing_was_lost() {
    let commit = |kind| Commit { row: 1, version: 2, kind, called: 9 * S, begin: 9 * S, at: 10 * S, end: 10 * S };
    for (kind, loss, expected) in [
        (Kind::HeldOrRefused, None, true),
        (Kind::HeldOrRefused, Some((9 * S + 1, 9 * S + 2)), false),
        (Kind::HeldOrRefused, Some((11 * S, 12 * S)), true),
        (Kind::Held, None, false),
        (Kind::Plain, None, false),
    ] {
        let mut book = Book::new(Degraded::Memory, Topology::Single, Copies::Off);
        if let Some((from, to)) = loss {
            book.lost(from, to);
        }
        book.note(1, Fact::Commit(commit(kind)));
        book.find_killed_writers(|life| life == 1);
        assert_eq!(is_stale(&book, 2, &read(1, 11 * S, 9 * S, false)), expected, "{kind:?} {loss:?}");
    }
}

#[test]
fn a_slow_call_is_slow_beyond_its_load_and_its_stops() {
    let mut book = Book::new(Degraded::Memory, Topology::Single, Copies::Off);
    let mut slow = read(1, 10 * S, 10 * S + S / 10, false);
    slow.end = 12 * S;
    slow.snapshot.end = 11 * S;
    book.note(1, Fact::Read(slow));
    book.note(1, Fact::Stall(10 * S + S / 2, 11 * S + S / 2));
    // Two seconds, of which 0.9 were the load, and half a second after it the process was stopped.
    assert_eq!(book.slowest_reads()[0].beyond, S * 6 / 10);
}

#[test]
fn after_a_demotion_an_instance_has_a_second_to_notice() {
    let mut book = Book::new(Degraded::Bypass, Topology::Single, Copies::Off);
    book.note(1, write(2, 10 * S, Told::Applied));
    book.demoted(11 * S, 11 * S);
    assert!(is_stale(&book, 2, &read(1, 11 * S - 1, 9 * S, false)));
    assert_eq!(book.judge(2, &read(1, 11 * S + S / 2, 9 * S, false)).expect("within").demoted, Some(S / 2));
    assert!(is_stale(&book, 2, &read(1, 12 * S, 9 * S, false)));
}

#[test]
fn servers_that_fail_over_may_be_heard_of_late_but_not_for_ever() {
    for topology in [Topology::Sentinel, Topology::Cluster] {
        let mut book = Book::new(Degraded::Bypass, topology, Copies::Off);
        book.note(1, write(2, 10 * S, Told::Applied));
        // Some may have been sent to another server from 10.5 s on, and everybody from 11 s on.
        book.demoted(10 * S + S / 2, 11 * S);
        assert!(is_stale(&book, 2, &read(1, 10 * S + S / 2 - 1, 9 * S, false)));
        let late = |at| book.judge(2, &read(1, at, 9 * S, false)).expect("not for good").late.is_some();
        assert!(!late(10 * S + S / 2) && !late(12 * S - 1) && late(12 * S) && late(14 * S - 1));
        assert!(is_stale(&book, 2, &read(1, 14 * S, 9 * S, false)));
    }
}

#[test]
fn what_a_killed_instance_had_journaled_counts_once_its_heir_has_joined() {
    let mut book = Book::new(Degraded::Memory, Topology::Single, Copies::Off);
    book.note(1, Fact::Began { place: 0 });
    book.note(1, write(2, 10 * S, Told::Journaled));
    book.note(2, Fact::Began { place: 1 });
    book.note(2, Fact::Joined { at: 11 * S });
    book.note(3, Fact::Began { place: 0 });
    book.note(3, Fact::Joined { at: 13 * S });
    book.find_inherited();
    assert!(!is_stale(&book, 2, &read(1, 12 * S, 9 * S, false)), "the file is that of the place");
    assert!(is_stale(&book, 2, &read(1, 14 * S, 9 * S, false)));
}

#[test]
fn where_copies_are_leased_others_have_a_lease_to_hear_of_a_replay_and_writes_wait_for_them() {
    let lapse = nanos(crate::LAPSE);
    let mut book = Book::new(Degraded::Memory, Topology::Single, Copies::Leased);
    book.note(1, write(2, 10 * S, Told::Journaled));
    book.note(1, Fact::InForce { row: 1, version: 2, at: 12 * S });
    assert!(!is_stale(&book, 2, &read(1, 12 * S + lapse, 9 * S, false)));
    assert!(is_stale(&book, 2, &read(1, 12 * S + lapse + 1, 9 * S, false)));
    for (kind, waits, took, is_late) in [
        (Kind::Plain, 1, SLOW, false),
        (Kind::Plain, 1, SLOW + 5, true),
        (Kind::Held, 2, SLOW, false),
        (Kind::HeldOrRefused, 2, SLOW + 5, true),
    ] {
        let mut book = Book::new(Degraded::Memory, Topology::Single, Copies::Leased);
        let end = 11 * S + took + waits * lapse;
        let commit = Commit { row: 1, version: 2, kind, called: 10 * S, begin: 10 * S, at: 10 * S + 1, end: 11 * S };
        book.note(1, Fact::Write(Write { commit, begin: 10 * S, end, outcome: Told::Applied }));
        assert_eq!(book.slowest_writes()[0].is_late(), is_late, "{kind:?}, {took}");
    }
    book.note(2, write(3, 13 * S, Told::Applied));
    assert!(is_stale(&book, 3, &read(2, 13 * S + 1, 9 * S, false)), "who has returned has waited");
}
