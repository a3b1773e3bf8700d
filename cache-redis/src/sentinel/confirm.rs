//! Making sure of an acknowledgement.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

use super::{Round, Sentinels, votes::Votes};

/// How far apart questions are at least, so that many invalidations burden no sentinel.
const SPACING: Duration = Duration::from_millis(2);

/// Questions that many may wait for the answer of.
#[derive(Default)]
pub(super) struct Confirmations {
    begun: AtomicU64,
    /// Held by who asks; the others wait for it.
    last: Mutex<Option<Confirmation>>,
}

/// The question that was answered last.
struct Confirmation {
    number: u64,
    began: Instant,
    votes: Votes,
}

impl Sentinels {
    /// The server that has become the primary instead of this one, as far as they know by a question that begins after this
    /// call does. Calls at the same time share one. While too few of them answer to be worth the wait, nothing is known.
    pub(crate) async fn confirm(&self, of: &str, bound: Duration) -> Option<String> {
        let before = self.confirmations.begun.load(Ordering::SeqCst);
        let mut last = self.confirmations.last.lock().await;
        if let Some(shared) = last.as_ref().filter(|last| last.number > before) {
            return self.named_instead(of, &shared.votes);
        }
        if self.known().are_silent {
            return None;
        }
        if let Some(last) = &*last {
            sleep_until(last.began + SPACING).await;
        }
        let number = self.confirmations.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let began = Instant::now();
        let mut round = self.ask(bound / 4, false).await;
        if round.votes.agreed(0).is_none() {
            // Those that are not connected may know more.
            round = self.ask(bound / 4, true).await;
        }
        let Round { votes, .. } = round;
        self.named_instead(of, &last.insert(Confirmation { number, began, votes }).votes)
    }
}
