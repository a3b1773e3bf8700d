//! What every request can reach.

use std::{sync::Arc, time::Duration};

use staffing::{Db, Staffing};
use staleproof::{
    Cache,
    kit::{Codes, Kit, Limiter, Locks, Owned, Places, Quota, States, Topic},
};
use tokio::sync::watch;

use super::{
    Serve,
    dialogue::Form,
    events::ShiftNews,
    payments::Draft,
    session::{LASTS, Session},
};

/// Everything, behind one pointer.
pub(crate) type App = Arc<Inner>;

pub(crate) struct Inner {
    pub(crate) serve: Serve,
    pub(crate) secret: Vec<u8>,
    staffing: Staffing,
    pub(crate) kit: Kit,
    pub(crate) codes: Codes,
    /// How often a code is sent to one user.
    pub(crate) code_limit: Limiter,
    pub(crate) sessions: States<String, Session>,
    /// By user: one contract is registered at a time.
    pub(crate) dialogues: States<String, Form>,
    /// By user and id.
    pub(crate) drafts: States<Owned<String, String>, Draft>,
    pub(crate) slot_locks: Locks,
    pub(crate) news: Topic<ShiftNews>,
    pub(crate) places: Places<i64>,
    /// Whether the service has been told to stop.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Inner {
    pub(crate) fn new(serve: Serve, db: Db, cache: &Cache, secret: Vec<u8>) -> App {
        let kit = Kit::of(cache);
        Arc::new(Self {
            codes: kit.codes("login").digits(8).secret(&secret),
            code_limit: kit.limiter("code", Quota::new(5, Duration::from_mins(5))),
            sessions: kit.states("session").ttl(LASTS).sliding().restored_after_loss().build(),
            dialogues: kit.states("dialogue").ttl(Duration::from_hours(24)).restored_after_loss().build(),
            drafts: kit.states("payment").ttl(Duration::from_mins(30)).restored_after_loss().build(),
            slot_locks: kit.locks("slot"),
            news: kit.topic("shifts"),
            places: kit.places("objects"),
            stopping: watch::Sender::new(false),
            // Measured without a cache, nothing is read from this one, and nobody is told of invalidations.
            staffing: if serve.no_cache { Staffing::new(db, &Cache::memory()) } else { Staffing::new(db, cache) },
            kit,
            secret,
            serve,
        })
    }

    /// The services.
    pub(crate) fn staffing(&self) -> Staffing {
        self.staffing.clone()
    }
}
