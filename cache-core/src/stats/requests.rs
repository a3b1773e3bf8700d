//! What answered each request, counted once.

use std::{ops::Deref, sync::Arc};

use super::{Counter, Counters};

macro_rules! answers {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:ident,)+) => {
        /// What answered the requests: each counts once, so that the sum is the number of requests.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Requests {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// What answers a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Answer {
            $($(#[doc = $doc])+ $variant,)+
        }

        #[derive(Debug, Default)]
        pub(super) struct RequestCounters {
            $($name: Counter,)+
        }

        impl RequestCounters {
            pub(super) fn of(&self, answer: Answer) -> &Counter {
                match answer {
                    $(Answer::$variant => &self.$name,)+
                }
            }

            pub(super) fn snapshot(&self) -> Requests {
                Requests { $($name: self.$name.get(),)+ }
            }
        }

        impl std::ops::AddAssign for Requests {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

answers! {
    /// Hits in this process's memory, those that the store has confirmed included.
    L1Hit l1_hits,
    /// Hits of values that were read from a store that others share.
    L2Hit l2_hits,
    /// Misses that loaded, or waited for another process to.
    Miss misses,
    /// Misses that took the value of a load already under way in this process.
    Joined joined,
    /// Misses that went to the source because a writer held the entry.
    Held held,
    /// Requests made while the store was out of reach, whatever the stand-in had.
    Degraded degraded,
    /// Requests inside a transaction.
    Bypassed bypassed,
}

/// A function's counters, for one request: what answered it is counted when it is over, also if the caller has gone away.
#[derive(Debug)]
pub(crate) struct Tally {
    counters: Arc<Counters>,
    answer: Answer,
}

impl Tally {
    pub(crate) fn new(counters: Arc<Counters>, degraded: bool) -> Self {
        Self { counters, answer: if degraded { Answer::Degraded } else { Answer::Miss } }
    }

    /// What answers the request, as far as is known. What was known before stands, unless that was a mere miss.
    pub(crate) fn answered_by(&mut self, answer: Answer) {
        if self.answer == Answer::Miss {
            self.answer = answer;
        }
    }
}

impl Deref for Tally {
    type Target = Arc<Counters>;

    fn deref(&self) -> &Arc<Counters> {
        &self.counters
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.counters.requests.of(self.answer).add(1);
    }
}
