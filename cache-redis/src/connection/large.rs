//! A second connection to the same server, for large values: on the way of one that takes a millisecond nobody else waits.
//!
//! It is opened when the first large value has been seen, and used for what is known to be large: a value that is
//! stored, and the read of an entry that was large when it was last read or stored. It holds no state and decides nothing. If it
//! closes, what was sent over it is sent over the first one, and the keeper opens another. Where answers do not come in time, some of them
//! cost their timeout, and then it is given up as well; that says nothing of the first one.
//!
//! It must lead to the same process as the first one, whose incarnation its answers are compared with: behind a name or a balancer a
//! replica may answer, which has the incarnation of its primary and lags behind it. So where a server does not tell its
//! run id there is no second connection, and none for the rest of the session where another process has answered.

use std::{
    hash::BuildHasher as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use redis::{Arg, Cmd, aio::MultiplexedConnection};
use tokio::time::timeout;

use super::{Connection, Way, checked, greet, options, process};
use crate::{call_error::CallError, config::Address, reads::Reads, trace};

/// From this many bytes on a value is large: on loopback it takes as long as some round trips.
const LARGE: usize = 16 << 10;

/// After so many timeouts in a row it is given up.
const STRIKES: u32 = 3;

/// How many marks there are: entries that share one are taken for large together.
const MARKS: usize = 4_096;

/// The connection for large values, and what is known to be large.
#[derive(Debug)]
pub(crate) struct Large {
    connection: ArcSwapOption<MultiplexedConnection>,
    reads: Reads,
    is_wanted: AtomicBool,
    /// Another process has answered.
    is_elsewhere: AtomicBool,
    /// Timeouts since the last answer.
    strikes: AtomicU32,
    marks: Box<[AtomicU64; MARKS / 64]>,
    hashes: RandomState,
}

/// Where what is known of an entry's size is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(usize);

impl Large {
    pub(super) fn new() -> Self {
        Self {
            connection: ArcSwapOption::empty(),
            reads: Reads::default(),
            is_wanted: AtomicBool::new(false),
            is_elsewhere: AtomicBool::new(false),
            strikes: AtomicU32::new(0),
            marks: Box::new([const { AtomicU64::new(0) }; MARKS / 64]),
            hashes: RandomState::default(),
        }
    }

    /// What is being read over it.
    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    pub(crate) fn mark(&self, name: &[u8]) -> Mark {
        #[allow(clippy::cast_possible_truncation, reason = "any bits of a hash are as good")]
        Mark(self.hashes.hash_one(name) as usize % MARKS)
    }

    /// How large an entry was found, or is to be.
    pub(crate) fn note(&self, Mark(mark): Mark, bytes: usize) {
        let (word, bit, is_large) = (&self.marks[mark / 64], 1 << (mark % 64), bytes >= LARGE);
        // Written only when it changes: readers share the line.
        match (word.load(Ordering::Relaxed) & bit != 0, is_large) {
            (false, true) => {
                word.fetch_or(bit, Ordering::Relaxed);
                self.is_wanted.store(true, Ordering::Relaxed);
            }
            (true, false) => {
                word.fetch_and(!bit, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Whether the entry is to be read over this connection.
    pub(crate) fn is_for(&self, Mark(mark): Mark) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
            && self.marks[mark / 64].load(Ordering::Relaxed) & (1 << (mark % 64)) != 0
            && self.connection.load().is_some()
    }

    /// The connection, if it is open and the command has something large to bring.
    pub(super) fn to_carry(&self, command: &Cmd) -> Option<Arc<MultiplexedConnection>> {
        let is_large = |arg: Arg<&[u8]>| matches!(arg, Arg::Simple(bytes) if bytes.len() >= LARGE);
        if !self.is_wanted.load(Ordering::Relaxed) || !command.args_iter().any(is_large) {
            return None;
        }
        self.open()
    }

    pub(super) fn open(&self) -> Option<Arc<MultiplexedConnection>> {
        self.connection.load_full()
    }

    pub(super) fn strikes(&self) -> &AtomicU32 {
        &self.strikes
    }

    /// It has had so many timeouts in a row.
    pub(super) fn lose_after(&self, strikes: u32, why: &CallError) {
        if strikes >= STRIKES {
            self.strikes.store(0, Ordering::Relaxed);
            self.lose(why);
        }
    }

    /// It has failed.
    pub(super) fn lose(&self, why: &CallError) {
        if self.connection.swap(None).is_some() {
            tracing::debug!(%why, "lost the connection for large values");
        }
    }
}

impl Connection {
    /// Opens a connection for large values, if there are any and it has none; otherwise keeps it from being closed as idle.
    /// `bound` is for a round trip, `opening` for all that opening takes.
    pub(crate) async fn tend_large(&self, address: &Address, bound: Duration, opening: Duration) {
        if !self.large.is_wanted.load(Ordering::Relaxed) || self.large.is_elsewhere.load(Ordering::Relaxed) {
            return;
        }
        if let Some(open) = self.large.open() {
            let (ping, mut open) = (redis::cmd("PING"), (*open).clone());
            let span = trace::of_command(&self.server, &ping);
            let ping = self.bounded(Way::Large, bound, span, open.send_packed_command(&ping));
            if let Err(error @ CallError::OutOfReach(_)) = ping.await.and_then(checked) {
                self.large.lose(&error);
            }
            return;
        }
        if let Ok(Some(another)) = timeout(opening, self.open_another(address)).await {
            self.large.connection.store(Some(Arc::new(another)));
        } else {
            tracing::debug!(at = self.at(), "no second connection for large values");
        }
    }

    /// Another connection to the same process.
    async fn open_another(&self, address: &Address) -> Option<MultiplexedConnection> {
        if self.process.is_none() || address.is_by_hand() {
            return None;
        }
        let (another, about) = greet(address, &self.server, options(address, None)).await.ok()?;
        if process(&about) == self.process {
            return Some(another);
        }
        self.large.is_elsewhere.store(true, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_large_is_known_until_it_is_found_small() {
        let large = Large::new();
        let (one, other) = (large.mark(b"one"), large.mark(b"other"));
        large.note(one, LARGE);
        let is_marked = |Mark(mark): Mark| large.marks[mark / 64].load(Ordering::Relaxed) & (1 << (mark % 64)) != 0;
        assert!(is_marked(one) && (one.0 == other.0 || !is_marked(other)));
        assert!(!large.is_for(one), "there is no connection");
        large.note(one, LARGE - 1);
        assert!(!is_marked(one));
    }
}
