//! Names for leases and holders, unique for all time.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::store::LeaseId;

pub(super) fn lease_id() -> LeaseId {
    LeaseId(unique_name())
}

/// A name that nothing else has or had: 95 random bits of this process and a counter, readable.
pub(crate) fn unique_name() -> [u8; 32] {
    static PROCESS: LazyLock<[u64; 2]> =
        LazyLock::new(|| [RandomState::new().hash_one("lease"), RandomState::new().hash_one(std::process::id())]);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut id = [0; 32];
    write(&mut id[..12], PROCESS[0]);
    write(&mut id[12..19], PROCESS[1]);
    write(&mut id[19..], COUNTER.fetch_add(1, Ordering::Relaxed));
    id
}

/// The low bits of a number, five to a letter.
fn write(out: &mut [u8], mut number: u64) {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    for letter in out.iter_mut().rev() {
        *letter = LETTERS[usize::from(number.to_le_bytes()[0] & 31)];
        number >>= 5;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_readable_and_differ_across_threads() {
        let mint = || (0..10_000).map(|_| lease_id()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(mint)).collect();
        let names: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        assert!(names.iter().all(|name| name.0.is_ascii()));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn the_whole_counter_is_written() {
        let mut out = [0; 13];
        write(&mut out, u64::MAX);
        let mut smaller = [0; 13];
        write(&mut smaller, u64::MAX >> 1);
        assert_ne!(out, smaller);
    }
}
