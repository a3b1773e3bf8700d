//! Counters that many threads raise at once.
//!
//! A processor that raises a counter which another has just raised waits for it, for longer than a hit takes. So each
//! thread has a row of counters to itself, and what is read is their sum. A thread has a *seat* while it lives; where it
//! alone counts, adding one needs no atomic step. Past [`SEATS`] threads the rest share a row, in atomic steps.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// How many threads have a row to themselves.
pub(super) const SEATS: usize = 64;

/// So many counters share no cache line, nor its neighbour that processors fetch along, with those of another row.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; PER_LINE]);

const PER_LINE: usize = 16;

type Row = Box<[Line]>;

/// So many counters, in a row for each thread.
#[derive(Debug)]
pub(super) struct Stripes {
    counters: usize,
    own: Box<[OnceLock<Row>]>,
    shared: OnceLock<Row>,
}

impl Stripes {
    pub(super) fn new(counters: usize) -> Self {
        Self { counters, own: (0..SEATS).map(|_| OnceLock::new()).collect(), shared: OnceLock::new() }
    }

    #[inline]
    pub(super) fn add(&self, counter: usize) {
        let seat = SEAT.try_with(|seat| seat.0).unwrap_or(SEATS);
        let Some(row) = self.own.get(seat) else { return self.add_shared(counter) };
        let counter = self.row(row, counter);
        // Nobody else writes here: who had the seat before has left it under the lock.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[cold]
    fn add_shared(&self, counter: usize) {
        self.row(&self.shared, counter).fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    fn row<'a>(&self, row: &'a OnceLock<Row>, counter: usize) -> &'a AtomicU64 {
        let lines = row.get_or_init(|| (0..self.counters.div_ceil(PER_LINE)).map(|_| Line::default()).collect());
        &lines[counter / PER_LINE].0[counter % PER_LINE]
    }

    pub(super) fn sums(&self) -> Vec<u64> {
        let mut sums = vec![0; self.counters];
        for row in self.own.iter().chain([&self.shared]).filter_map(OnceLock::get) {
            for (sum, counter) in sums.iter_mut().zip(row.iter().flat_map(|line| &line.0)) {
                *sum += counter.load(Ordering::Relaxed);
            }
        }
        sums
    }
}

/// Seats that threads have left, and how many were ever taken.
struct Seats {
    free: Vec<usize>,
    taken: usize,
}

static ALL: Mutex<Seats> = Mutex::new(Seats { free: Vec::new(), taken: 0 });

/// A thread's place; past the last one there is none of its own.
struct Seat(usize);

thread_local! {
    static SEAT: Seat = Seat::take();
}

impl Seat {
    fn take() -> Self {
        let mut seats = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seat) = seats.free.pop() {
            return Self(seat);
        }
        let seat = seats.taken.min(SEATS);
        seats.taken = (seat + 1).min(SEATS);
        Self(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.0 < SEATS {
            ALL.lock().unwrap_or_else(PoisonError::into_inner).free.push(self.0);
        }
    }
}
