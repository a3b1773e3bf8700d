//! Warm-up: calls made ahead, so that the first callers find hits.

use std::{fmt, future::Future, time::Duration};

use tokio::time::Instant;

use super::{Cache, Health, batch::Abreast};

/// How many calls a warm-up has under way by default.
const AT_ONCE: usize = 16;

/// How far a warm-up has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warmed {
    /// Calls that have ended, the failed ones among them.
    pub done: usize,
    /// Calls that answered `Err`. They are not repeated.
    pub failed: usize,
    /// How many calls there are, where that is known beforehand.
    pub total: Option<usize>,
    /// Time since the beginning.
    pub took: Duration,
    /// The cache's store went out of reach, and no more calls were begun: what they load would be kept for seconds only.
    pub cut_short: bool,
}

impl fmt::Display for Warmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.done)?;
        if let Some(total) = self.total {
            write!(f, " of {total}")?;
        }
        write!(f, " calls in {:.1} s, {} failed", self.took.as_secs_f64(), self.failed)?;
        if self.cut_short { write!(f, ", cut short: the store is out of reach") } else { Ok(()) }
    }
}

/// What a call of a warm-up answers: a `Result`, so that failures can be counted.
#[diagnostic::on_unimplemented(
    message = "a call of a warm-up answers a `Result`, and this one answers `{Self}`",
    note = "it counts those that failed; write `async move {{ Ok::<_, std::convert::Infallible>(service.price(id).await) }}` for a call that cannot"
)]
pub trait CallResult {
    /// Whether the call failed.
    fn has_failed(&self) -> bool;
}

impl<T, E> CallResult for Result<T, E> {
    fn has_failed(&self) -> bool {
        self.is_err()
    }
}

/// A warm-up that has not begun: see [`Cache::warm`].
#[must_use = "a warm-up does nothing until `run`"]
pub struct Warmup<'a, I> {
    cache: &'a Cache,
    calls: I,
    at_once: usize,
}

impl Cache {
    /// Makes calls of cached methods ahead, a bounded number at once, so that what they answer is in the cache.
    ///
    /// The calls are futures of a `Result`, made when it is their turn. What is in the cache already is a hit and costs no load. They all
    /// run in the caller's task: the bound is on how many wait at once, which is what protects the source.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use cache_core::Cache;
    /// # use std::time::Duration;
    /// # struct Service(Cache);
    /// # impl Service {
    /// #     async fn user(&self, id: u32) -> Result<u32, Infallible> {
    /// #         let (key, policy) = (cache_core::Key::new("user").arg(&id), cache_core::Policy::new(Duration::from_secs(60)));
    /// #         self.0.get_or_load(&key, &policy, async || Ok(id)).await
    /// #     }
    /// # }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let cache = Cache::memory();
    /// # let service = Service(cache.clone());
    /// let warmed = cache
    ///     .warm((0..1_000).map(|id| service.user(id)))
    ///     .at_once(8)
    ///     .run(|so_far| if so_far.done % 100 == 0 { println!("{so_far}") })
    ///     .await;
    /// assert_eq!((warmed.done, warmed.failed), (1_000, 0));
    /// # }
    /// ```
    ///
    /// With a batch method a call may stand for many ids: `ids.chunks(500).map(|ids| service.users(ids))`.
    pub fn warm<I, F, R>(&self, calls: I) -> Warmup<'_, I::IntoIter>
    where
        I: IntoIterator<Item = F>,
        F: Future<Output = R>,
        R: CallResult,
    {
        Warmup { cache: self, calls: calls.into_iter(), at_once: AT_ONCE }
    }
}

impl<I, F, R> Warmup<'_, I>
where
    I: Iterator<Item = F>,
    F: Future<Output = R>,
    R: CallResult,
{
    /// How many calls are under way at once: 16 by default, and at least one.
    pub fn at_once(mut self, at_once: usize) -> Self {
        self.at_once = at_once.max(1);
        self
    }

    /// Makes the calls, and tells after each how far it has come. Ends when all have ended; early if the cache's store goes out of
    /// reach.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the calls under way; what has been loaded stays.
    pub async fn run(self, mut progress: impl FnMut(Warmed)) -> Warmed {
        let Self { cache, mut calls, at_once } = self;
        let total = match calls.size_hint() {
            (least, Some(most)) if least == most => Some(most),
            _ => None,
        };
        let began = Instant::now();
        let mut so_far = Warmed { done: 0, failed: 0, total, took: Duration::ZERO, cut_short: false };
        let mut running = Abreast::new(at_once);
        loop {
            let mut ended = None;
            // As long as there is room this begins calls, then it waits for one to end.
            while ended.is_none() && !so_far.cut_short {
                if matches!(cache.health(), Health::Degraded { .. }) {
                    so_far.cut_short = true;
                } else if let Some(call) = calls.next() {
                    ended = running.add(call).await;
                } else {
                    break;
                }
            }
            let Some(result) = (match ended {
                Some(result) => Some(result),
                None => running.next().await,
            }) else {
                return so_far;
            };
            so_far.done += 1;
            so_far.failed += usize::from(result.has_failed());
            so_far.took = began.elapsed();
            progress(so_far);
        }
    }
}
