//! The feed: telling instances that keep values in their own memory what is invalidated, and waiting until they know.
//!
//! A *member* is a store on which [`feed`](cache_core::Store::feed) was called. It is in the registry, a hash in Redis; it
//! subscribes to the announcements, and renews its lease four times a second. An invalidation that finds members in the
//! registry announces itself and returns when each of them has acknowledged, or can no longer serve anything.
//!
//! Invariants, and what they rest on:
//!
//! - *A member serves until one second after it sent a renewal, and no longer.* So who has waited for a second, and a bit for
//!   clocks that run apart, from when its announcement was answered, knows: who has not renewed since serves nothing, and
//!   who has was told first. For the renewal goes over the connection that the announcements come in on, in one order.
//! - *A renewal counts only if nothing is missing.* Every announcement has the next number, and a renewal's answer has that
//!   of the last. Another one than was heard last: all is emptied first. The number is raised before it is published, so also
//!   an announcement that is refused, or lost with its key, shows. Where the key is lost it goes on from the time, and no
//!   number comes twice.
//! - *Who is not in the registry has no lease, or the registry is known not to be complete.* A registry begins as not
//!   complete: members of an earlier one, which was lost or is of another incarnation, may still serve. It is complete when
//!   somebody has seen that it was there for a lease's time. Until then every invalidation waits that long. A member is
//!   taken out only if it has not renewed since an announcement for that long, or by itself when it is empty.
//! - *Keeping is part of the session.* A member empties itself when its session or its feed is lost, and before its first lease.
//!   Both are of one incarnation.
//!
//! What stays open:
//!
//! - A process that never heard of any member takes a registry that is missing for a namespace that has none. It looks when
//!   it connects and twice a second: a member has to join, and the registry to be lost, between two looks; and it gives its
//!   lease up within a second.
//! - A lease runs by the monotonic clock, which stands still while a machine is suspended or its image is saved.
//! - A primary that is cut off and goes on to take writes goes on to renew leases, just as it goes on to answer reads, until
//!   the session is given up.
//! - Releases before this one do not announce anything.
//!
//! The feed has a connection of its own, which is opened when there is anything to hear: to Redis a connection that has
//! subscribed is one that may be closed when its replies are more than 32 MB behind, and those of reads are values. Reads
//! need not be in order with announcements: whoever keeps what it has read compares a count of what it was told.
//!
//! Without RESP3, or where the user may not subscribe and publish, there is no lease. An instance that cannot hear
//! acknowledgements waits for a lease's time whenever there are members.
//!
//! Names, messages and the times here are part of the format that instances of all releases share.

pub(crate) mod barrier;
mod message;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::{
    Target,
    meter::Meter,
    mutant::{self, Mutant},
    store::{HolderId, Nearby},
    trace::Seldom,
};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, mpsc, watch};

use self::barrier::Heard;
use crate::name::FeedNames;

/// For how long a member may serve after it sent a renewal.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// How often it renews.
pub(crate) const RENEWAL: Duration = Duration::from_millis(250);

/// A lease by a clock that runs slower than the member's.
pub(crate) const LAPSE: Duration = Duration::from_millis(1_050);

/// An instance's part in the feed.
pub(crate) struct Feed {
    pub(crate) names: FeedNames,
    /// Names the instance as a member and as one that waits for acknowledgements.
    pub(crate) id: String,
    is_possible: bool,
    kept: Mutex<Kept>,
    /// What was heard of the announcements that are waited for, by their own numbers.
    heard: Mutex<HashMap<u64, Arc<Heard>>>,
    announced: AtomicU64,
    has_seen_members: AtomicBool,
    /// The log has it that announcements fail.
    is_failure_told: AtomicBool,
    meter: Meter,
    /// Says of members that do not acknowledge.
    silence: Seldom,
    part: watch::Sender<Part>,
    /// This instance is no member any more, and becomes none.
    has_resigned: AtomicBool,
    resigning: Notify,
    /// How many memberships of this instance the registry may have: one, but for an old one that is being taken out.
    memberships: watch::Sender<u32>,
    ears: watch::Sender<Ears>,
}

/// What the instance needs a connection for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// There are no members.
    None,
    /// To hear what others acknowledge.
    Listener,
    /// To be told, too.
    Member,
}

/// Whether acknowledgements can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ears {
    NotYet,
    Open,
    Refused,
}

/// Who keeps values here.
#[derive(Default)]
struct Kept {
    nearby: Vec<Arc<dyn Nearby>>,
    /// How many connections there were.
    connections: u64,
    hearing: Option<Hearing>,
}

/// What came in over the connection of this number.
struct Hearing {
    number: u64,
    /// The announcements since the last renewal was sent, and the one before.
    window: Vec<u64>,
    /// A renewal has been answered: what is heard goes on from there. What came before the subscription nobody has counted.
    has_begun: bool,
    acks: mpsc::UnboundedSender<Ack>,
}

/// An acknowledgement to be sent.
#[derive(Debug)]
pub(crate) struct Ack {
    pub(crate) channel: String,
    pub(crate) message: String,
}

/// What a renewal came to.
#[derive(Debug)]
pub(crate) struct Renewed {
    pub(crate) sent: Instant,
    /// The registry did not have this member.
    pub(crate) was_missing: bool,
    /// The last announcement's.
    pub(crate) last: u64,
}

impl Feed {
    pub(crate) fn new(names: FeedNames, is_possible: bool, meter: Meter) -> Self {
        Self {
            names,
            id: String::from_utf8_lossy(&HolderId::new().0).into_owned(),
            is_possible,
            kept: Mutex::default(),
            heard: Mutex::default(),
            announced: AtomicU64::new(0),
            has_seen_members: AtomicBool::new(false),
            is_failure_told: AtomicBool::new(false),
            meter,
            silence: Seldom::new(),
            part: watch::Sender::new(Part::None),
            has_resigned: AtomicBool::new(false),
            resigning: Notify::new(),
            memberships: watch::Sender::new(0),
            ears: watch::Sender::new(Ears::NotYet),
        }
    }

    /// Tells `nearby` from now on; `false` if that is not possible.
    pub(crate) fn join(&self, nearby: Arc<dyn Nearby>) -> bool {
        if !self.is_possible {
            tracing::warn!("over RESP2 there is no feed of invalidations: values in memory are never served unasked");
            return false;
        }
        self.kept().nearby.push(nearby);
        self.has_seen_members.store(true, Ordering::Relaxed);
        self.want(Part::Member);
        true
    }

    fn want(&self, part: Part) {
        self.part.send_if_modified(|wanted| {
            let is_more = self.is_possible && *wanted < part;
            if is_more {
                *wanted = part;
            }
            is_more
        });
    }

    /// What the connection is needed for.
    pub(crate) fn part(&self) -> watch::Receiver<Part> {
        self.part.subscribe()
    }

    /// As much of it as is left to one that has resigned.
    pub(crate) fn allowed(&self, part: Part) -> Part {
        if self.has_resigned() { part.min(Part::Listener) } else { part }
    }

    /// Keeps nothing here from now on that could be served unasked. The member leaves when its renewal under way is answered.
    pub(crate) fn resign(&self) {
        self.has_resigned.store(true, Ordering::SeqCst);
        self.resigning.notify_one();
    }

    pub(crate) fn has_resigned(&self) -> bool {
        self.has_resigned.load(Ordering::SeqCst)
    }

    /// Waits until it has resigned.
    pub(crate) async fn resigned(&self) {
        while !self.has_resigned() {
            self.resigning.notified().await;
        }
    }

    /// One more member, until the answer is dropped.
    pub(crate) fn membership(self: &Arc<Self>) -> Counted {
        self.memberships.send_modify(|count| *count += 1);
        Counted(Arc::clone(self))
    }

    /// Waits until the registry has no membership of this instance any more.
    pub(crate) async fn has_left(&self) {
        drop(self.memberships.subscribe().wait_for(|count| *count == 0).await);
    }

    pub(crate) fn has_seen_members(&self) -> bool {
        self.has_seen_members.load(Ordering::Relaxed)
    }

    /// There is a registry, and perhaps somebody in it.
    pub(crate) fn see_registry(&self, has_members: bool) {
        self.has_seen_members.store(true, Ordering::Relaxed);
        if has_members {
            self.want(Part::Listener);
        }
    }

    /// An announcement was not made; once, as it may concern each.
    pub(crate) fn tell_failure(&self, why: &str) {
        if !self.is_failure_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(why, "invalidations cannot be announced: what instances keep in memory is given up instead");
        }
    }

    /// The server does not let acknowledgements be heard.
    pub(crate) fn refuse(&self) {
        self.ears.send_replace(Ears::Refused);
    }

    /// Tells those of this instance.
    pub(crate) fn tell_own(&self, targets: &[Target]) {
        self.kept().nearby.iter().for_each(|nearby| nearby.invalidate(targets));
    }

    /// The session is lost: what was allowed on its word is so no longer.
    pub(crate) fn lose(&self) {
        self.end(|_| true);
    }

    fn end(&self, which: impl FnOnce(u64) -> bool) {
        let mut kept = self.kept();
        if kept.hearing.take_if(|hearing| which(hearing.number)).is_some() {
            kept.empty();
            self.ears.send_replace(Ears::NotYet);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A membership that the registry may have.
pub(crate) struct Counted(Arc<Feed>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.memberships.send_modify(|count| *count -= 1);
    }
}

impl Kept {
    fn empty(&self) {
        self.nearby.iter().for_each(|nearby| nearby.empty());
    }

    fn hearing(&mut self, number: u64) -> Option<&mut Hearing> {
        self.hearing.as_mut().filter(|hearing| hearing.number == number)
    }

    /// An announcement, in the order of their numbers.
    fn hear(&mut self, connection: u64, number: u64, targets: &[Target], ack: Option<Ack>) {
        let Some(hearing) = self.hearing(connection) else { return };
        let has_gap = hearing.window.last().is_some_and(|last| last + 1 != number) && !mutant::is(Mutant::NoGapCheck);
        if has_gap {
            hearing.window.clear();
        }
        hearing.window.push(number);
        if has_gap {
            self.empty();
        }
        self.nearby.iter().for_each(|nearby| nearby.invalidate(targets));
        if let (Some(hearing), Some(ack)) = (&self.hearing, ack) {
            // An error: the connection is about to be given up.
            drop(hearing.acks.send(ack));
        }
    }

    fn renewed(&mut self, connection: u64, renewed: &Renewed) {
        let Some(hearing) = self.hearing(connection) else { return };
        let has_begun = std::mem::replace(&mut hearing.has_begun, true) || mutant::is(Mutant::FirstLeaseKeeps);
        let is_gapless = hearing.window.contains(&renewed.last) || mutant::is(Mutant::NoGapCheck);
        // What came in between the answer and now goes on from there.
        if !is_gapless && hearing.window.first() != Some(&(renewed.last + 1)) {
            hearing.window = vec![renewed.last];
        }
        if renewed.was_missing || !is_gapless || !has_begun {
            self.empty();
        }
        let until = renewed.sent + LEASE;
        self.nearby.iter().for_each(|nearby| nearby.may_serve_until(until));
    }
}

/// What is heard over one connection. Dropped, all that was allowed over it ends.
pub(crate) struct Ear {
    feed: Arc<Feed>,
    number: u64,
    closed: Arc<Notify>,
}

impl Ear {
    /// For a new connection, and what is to be sent over it.
    pub(crate) fn new(feed: &Arc<Feed>) -> (Self, mpsc::UnboundedReceiver<Ack>) {
        feed.lose();
        let (acks, to_send) = mpsc::unbounded_channel();
        let mut kept = feed.kept();
        kept.connections += 1;
        let number = kept.connections;
        kept.hearing = Some(Hearing { number, window: Vec::new(), has_begun: false, acks });
        drop(kept);
        (Self { feed: Arc::clone(feed), number, closed: Arc::default() }, to_send)
    }

    /// Takes what the server pushes, in the order in which it comes.
    pub(crate) fn listener(&self) -> impl Fn(PushInfo) + Send + Sync + 'static {
        let (feed, number, closed) = (Arc::clone(&self.feed), self.number, Arc::clone(&self.closed));
        move |push| match (push.kind, push.data.as_slice()) {
            (PushKind::Disconnection, _) => {
                feed.end(|lost| lost == number);
                closed.notify_one();
            }
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(message)]) => {
                feed.take(number, channel, message);
            }
            _ => {}
        }
    }

    /// Is told when the connection has closed.
    pub(crate) fn closing(&self) -> Arc<Notify> {
        Arc::clone(&self.closed)
    }

    /// Acknowledgements can be heard from now on, or never.
    pub(crate) fn open(&self, ears: Ears) {
        self.feed.ears.send_replace(ears);
    }

    /// A renewal is about to be sent. `None`: what came over this connection counts no longer. The time is that of the runtime,
    /// as is all that the feed waits for.
    pub(crate) fn renew(&self) -> Option<Instant> {
        let mut kept = self.feed.kept();
        let hearing = kept.hearing(self.number)?;
        let before = hearing.window.len().saturating_sub(1);
        hearing.window.drain(..before);
        Some(tokio::time::Instant::now().into_std())
    }

    pub(crate) fn renewed(&self, renewed: &Renewed) {
        self.feed.kept().renewed(self.number, renewed);
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.feed.end(|lost| lost == self.number);
    }
}

impl Feed {
    fn take(&self, connection: u64, channel: &[u8], message: &[u8]) {
        if channel != self.names.channel.as_bytes() {
            if let Some(ack) = message::read_ack(message) {
                self.hear_ack(&ack);
            }
            return;
        }
        match message::read(message) {
            Some(told) => {
                let ack = Ack {
                    channel: format!("{}{}", self.names.acks, told.from),
                    message: message::ack(&self.id, told.own_number, told.number),
                };
                self.kept().hear(connection, told.number, &told.targets, Some(ack));
            }
            // Of a kind that is newer than this release: the next renewal shows a gap.
            None => self.kept().hear(connection, 0, &[Target::All], None),
        }
    }
}
