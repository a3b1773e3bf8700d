//! The rules of [`Store`] as a suite that runs over any implementation.
//!
//! [`run`] tries every rule and panics with a list of those that do not hold. A [`Case`] is one rule; its name says which.
//! Cases share one store and keep to keys of their own, so the store need not be empty and may be in use; cases that
//! invalidate everything get a fresh one. Time really passes unless the [`Subject`] is told how to move it.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use cache_core::{Clock, ManualClock, MemoryStore, Store, conformance::Subject};
//!
//! let time = ManualClock::new();
//! let clock = Clock::from(&time);
//! Subject::new(move || {
//!     let store: Arc<dyn Store> = Arc::new(MemoryStore::with_clock(64 << 20, clock.clone()));
//!     async { store }
//! })
//! .passing_time(move |span| {
//!     time.advance(span);
//!     async {}
//! })
//! .run()
//! .await;
//! # });
//! ```
//!
//! The suite needs a Tokio runtime, with its timer where time really passes, and a store with room for a few megabytes.

mod concurrency;
mod hold;
mod invalidation;
mod lease;
mod nearby;
mod refresh;
mod trial;
mod value;

use std::{
    any::Any,
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::sync::OnceCell;

pub use self::trial::Trial;
use crate::Store;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs all cases over the stores that `make` makes. Panics with the names of the rules that do not hold.
pub async fn run<F, S>(make: F)
where
    F: Fn() -> S + Send + Sync + 'static,
    S: Future<Output = Arc<dyn Store>> + Send + 'static,
{
    Subject::new(make).run().await;
}

/// All cases.
pub fn cases() -> impl ExactSizeIterator<Item = &'static Case> {
    CASES.iter()
}

/// What is tried: how to make the store, and how its time passes.
pub struct Subject {
    make: Box<dyn Fn() -> Boxed<'static, Arc<dyn Store>> + Send + Sync>,
    pass: Box<dyn Fn(Duration) -> Boxed<'static, ()> + Send + Sync>,
    shared: OnceCell<Arc<dyn Store>>,
}

impl Subject {
    /// Takes how to make a store: with nothing in it, or at least with nothing in it that another store of the same
    /// subject would clear.
    pub fn new<F, S>(make: F) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Future<Output = Arc<dyn Store>> + Send + 'static,
    {
        Self {
            make: Box::new(move || Box::pin(make())),
            pass: Box::new(|span| Box::pin(tokio::time::sleep(span))),
            shared: OnceCell::new(),
        }
    }

    /// How to let time pass, for stores whose clock can be moved. By default the suite sleeps.
    #[must_use]
    pub fn passing_time<F, P>(mut self, pass: F) -> Self
    where
        F: Fn(Duration) -> P + Send + Sync + 'static,
        P: Future<Output = ()> + Send + 'static,
    {
        self.pass = Box::new(move |span| Box::pin(pass(span)));
        self
    }

    /// Runs all cases. Panics with the names of the rules that do not hold.
    pub async fn run(&self) {
        let failures = self.failures().await;
        let list: Vec<_> = failures.iter().map(Failure::to_string).collect();
        assert!(list.is_empty(), "{} of {} rules do not hold:\n  {}", list.len(), CASES.len(), list.join("\n  "));
    }

    /// Runs all cases and collects those that fail.
    pub async fn failures(&self) -> Vec<Failure> {
        let mut failures = Vec::new();
        for case in CASES {
            if let Err(panic) = unwound(case.run(self)).await {
                failures.push(Failure { case: case.name, message: message(&*panic) });
            }
        }
        failures
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One rule.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    /// Whether the case invalidates everything.
    alone: bool,
    run: for<'a> fn(&'a Trial<'a>) -> Boxed<'a, ()>,
}

impl Case {
    /// The rule, in words joined by `_`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Tries the rule. Panics if it does not hold.
    pub async fn run(&self, subject: &Subject) {
        let store = if self.alone {
            (subject.make)().await
        } else {
            subject.shared.get_or_init(|| (subject.make)()).await.clone()
        };
        (self.run)(&Trial::new(self.name, store, &subject.pass)).await;
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// A rule that does not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case's name.
    pub case: &'static str,
    /// What was seen.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.case, self.message)
    }
}

async fn unwound(case: impl Future<Output = ()>) -> Result<(), Box<dyn Any + Send>> {
    let mut case = pin!(case);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| case.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

macro_rules! cases {
    ($($module:ident { $($name:ident $(alone = $alone:literal)?),+ $(,)? })+) => {
        &[$($(Case {
            name: stringify!($name),
            alone: false $(|| $alone)?,
            run: |trial| Box::pin($module::$name(trial)),
        }),+),+]
    };
}

const CASES: &[Case] = cases! {
    lease {
        a_key_that_was_never_filled_is_a_miss,
        a_value_is_stored_under_a_lease_and_read,
        a_second_load_waits_for_the_first,
        a_late_load_gets_the_value_that_was_stored_meanwhile,
        a_lease_is_good_for_one_fill,
        a_lease_is_good_for_its_own_key_only,
        a_forged_lease_stores_nothing,
        a_released_lease_stores_nothing_and_frees_the_key,
        releasing_a_lease_that_is_gone_leaves_the_next_one_alone,
        a_lapsed_lease_stores_nothing_and_frees_the_key,
        a_renewed_lease_outlives_its_first_term,
        a_lease_that_is_gone_is_not_renewed,
        leases_are_never_named_alike,
    }
    value {
        payloads_come_back_as_they_were,
        objects_come_back_as_the_same_object,
        an_expired_value_is_a_miss,
        an_unreadable_value_gives_way,
        an_unreadable_value_gives_way_only_if_it_is_the_one,
        similar_keys_have_values_of_their_own,
        a_value_is_served_under_its_own_tags_only,
    }
    invalidation {
        invalidating_an_entry_holds,
        invalidating_a_node_above_holds,
        invalidating_the_outermost_node_holds,
        invalidating_the_node_at_the_entry_holds,
        invalidating_a_node_holds_for_a_key_without_arguments,
        invalidating_a_tag_holds,
        invalidating_any_of_several_tags_holds,
        invalidating_a_glob_holds,
        invalidating_everything_holds alone = true,
        an_entry_is_invalidated_alone,
        a_node_covers_what_is_below_it_and_nothing_else,
        a_tag_covers_what_carries_it_and_nothing_else,
        a_glob_covers_what_matches_and_nothing_else,
        an_invalidation_of_nothing_is_fine,
        many_targets_are_invalidated_at_once,
        a_token_is_not_created_twice,
    }
    refresh {
        a_value_stays_readable_while_it_is_refreshed,
        a_second_refresh_waits_for_the_first,
        only_the_value_that_is_there_is_refreshed,
        a_refresh_is_refused_after_its_entry_was_invalidated,
        a_refresh_is_refused_after_its_node_was_invalidated,
        a_refresh_is_refused_after_its_tag_was_invalidated,
        a_refresh_is_refused_after_a_glob,
        a_refresh_is_refused_after_everything_was_invalidated alone = true,
        a_refresh_replaces_exactly_its_value,
        a_released_refresh_leaves_the_value_and_frees_the_turn,
        a_lapsed_refresh_stores_nothing_and_frees_the_turn,
        a_renewed_refresh_outlives_its_first_term,
        a_refresh_that_is_gone_is_not_renewed,
    }
    hold {
        a_hold_keeps_fills_out,
        a_lease_from_before_a_hold_is_refused,
        a_refresh_from_before_a_hold_is_refused,
        a_hold_covers_its_target_and_nothing_else,
        a_target_is_free_when_all_holders_have_released_it,
        a_hold_that_has_lapsed_is_like_one_that_was_released,
        each_holder_lapses_by_itself,
        a_hold_is_prolonged_and_never_shortened,
        a_release_invalidates,
        an_invalidation_ends_no_hold,
        a_hold_outlives_an_invalidation_of_everything alone = true,
        many_targets_are_held_at_once,
        globs_and_everything_cannot_be_held,
    }
    nearby {
        a_value_holds_until_it_is_invalidated,
        only_the_value_that_is_known_holds,
        a_value_holds_under_its_own_tags_only,
        nothing_holds_that_is_held_or_expired,
        who_keeps_values_is_told_before_an_invalidation_returns alone = true,
    }
    concurrency {
        of_many_loads_at_once_one_gets_the_lease,
        of_many_refreshes_at_once_one_gets_the_lease,
        dropped_calls_leave_the_store_usable,
        nothing_stale_is_read_while_loads_and_invalidations_race,
    }
};
