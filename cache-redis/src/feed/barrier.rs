//! Announcing an invalidation, and waiting until nobody can serve what it has removed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use cache_core::{
    Target,
    mutant::{self, Mutant},
};
use redis::{Cmd, Value};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{Ears, Feed, LAPSE, Part, message};
use crate::{connection::Incarnation, script::SCRIPTS};

/// Who has acknowledged an announcement: member, and the announcement's number.
#[derive(Debug)]
pub(super) struct Heard {
    /// When the invalidation began.
    began: Instant,
    acknowledged: Mutex<HashSet<(String, u64)>>,
    told: Notify,
}

/// An announcement that is to be made, perhaps several times: each has a number of its own.
pub(crate) struct Announcing<'a> {
    feed: &'a Feed,
    own_number: u64,
    targets: String,
    heard: Arc<Heard>,
}

/// What came of an announcement.
#[derive(Debug)]
pub(crate) enum Announced {
    /// Nobody may serve anything.
    ToNobody,
    /// To these.
    To(Told),
    /// It was not made.
    Not(String),
}

/// To whom an announcement was made.
#[derive(Debug)]
pub(crate) struct Told {
    /// Whoever has not renewed since serves nothing from then on.
    pub(crate) lapses: Instant,
    number: u64,
    /// Each with the number that it had in the registry.
    members: Vec<(String, String)>,
    /// The registry's name, unless all who may serve are in it.
    incomplete: Option<String>,
    is_published: bool,
}

impl Told {
    /// What may have reached nobody, and whose members are not known.
    pub(crate) fn unknown() -> Self {
        let lapses = Instant::now() + LAPSE;
        Self { lapses, number: 0, members: Vec::new(), incomplete: None, is_published: false }
    }

    /// For the same invalidation as an earlier one: who has not renewed since that serves nothing when that lapses, and who
    /// has was told by it. So only the former may be taken out of the registry then: their numbers are those of that time.
    pub(crate) fn instead_of(mut self, first: Self) -> Self {
        let then: HashMap<String, String> = first.members.into_iter().collect();
        for (member, number) in &mut self.members {
            // Of one that came later no number is right.
            *number = then.get(member).cloned().unwrap_or_default();
        }
        // A registry that was made anew in between is not complete as soon as that.
        Self { lapses: first.lapses, is_published: self.all_can_acknowledge(), incomplete: None, ..self }
    }

    /// Whether acknowledgements would be enough.
    fn all_can_acknowledge(&self) -> bool {
        self.is_published && self.incomplete.is_none()
    }
}

impl Feed {
    /// Prepares an announcement, so that no acknowledgement of it is missed.
    pub(crate) fn announcing<'a>(&self, targets: impl ExactSizeIterator<Item = &'a Target>) -> Announcing<'_> {
        self.announcing_encoded(message::encode(targets), Instant::now())
    }

    fn announcing_encoded(&self, targets: String, began: Instant) -> Announcing<'_> {
        let own_number = self.announced.fetch_add(1, Ordering::Relaxed);
        let heard = Arc::new(Heard { began, acknowledged: Mutex::default(), told: Notify::new() });
        if self.has_ears() {
            self.heard_by_number().insert(own_number, Arc::clone(&heard));
        }
        Announcing { feed: self, own_number, targets, heard }
    }

    fn has_ears(&self) -> bool {
        *self.ears.borrow() == Ears::Open
    }

    pub(super) fn hear_ack(&self, ack: &message::Acknowledged<'_>) {
        let Some(heard) = self.heard_by_number().get(&ack.own_number).map(Arc::clone) else { return };
        let is_new = heard.acknowledged().insert((ack.member.to_owned(), ack.number));
        heard.told.notify_one();
        if is_new && ack.member != self.id {
            self.meter.took_effect(heard.began.elapsed());
        }
    }

    fn heard_by_number(&self) -> MutexGuard<'_, HashMap<u64, Arc<Heard>>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until acknowledgements can be heard. `false`: not by then.
    pub(crate) async fn ears_open(&self, by: Instant) -> bool {
        self.want(Part::Listener);
        let mut ears = self.ears.subscribe();
        let opened = ears.wait_for(|ears| *ears != Ears::NotYet);
        self.is_possible && matches!(timeout_at(by, opened).await, Ok(Ok(ears)) if *ears == Ears::Open)
    }
}

impl Heard {
    fn acknowledged(&self) -> MutexGuard<'_, HashSet<(String, u64)>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Announcing<'a> {
    /// The same once more.
    pub(crate) fn again(mut self) -> Announcing<'a> {
        self.feed.announcing_encoded(std::mem::take(&mut self.targets), self.heard.began)
    }

    pub(crate) fn command(&self, incarnation: &Incarnation) -> Cmd {
        let (feed, names) = (self.feed, &self.feed.names);
        let message = message::announcement(&feed.id, self.own_number, &self.targets);
        let mut command = SCRIPTS.announce.call(3, 384 + message.len());
        command.arg(&names.never).arg(&names.members).arg(&names.sequence).arg(incarnation).arg(registry_name());
        command.arg(i32::from(feed.has_seen_members())).arg(&names.channel).arg(message);
        command
    }

    /// What the script has answered.
    pub(crate) fn read(&self, answer: Value) -> Announced {
        let lapses = Instant::now() + LAPSE;
        let fields = match answer {
            Value::Int(0) => return Announced::ToNobody,
            Value::Array(fields) => fields,
            Value::BulkString(why) => return Announced::Not(String::from_utf8_lossy(&why).into_owned()),
            other => return Announced::Not(format!("{other:?}")),
        };
        let mut fields = fields.into_iter().map(|field| redis::from_redis_value::<String>(field).unwrap_or_default());
        let mut next = || fields.next().unwrap_or_default();
        let (is_complete, is_published, number, name) = (next() == "1", next() == "1", next(), next());
        let mut members = Vec::new();
        while let (Some(member), Some(number)) = (fields.next(), fields.next()) {
            members.push((member, number));
        }
        self.feed.see_registry(!members.is_empty());
        let incomplete = (!is_complete).then_some(name);
        Announced::To(Told { lapses, number: number.parse().unwrap_or(0), members, incomplete, is_published })
    }

    /// Whether to announce once more when acknowledgements can be heard, rather than to wait for a lease's time.
    pub(crate) fn is_worth_repeating(&self, told: &Told) -> bool {
        !self.is_heard() && told.all_can_acknowledge() && told.members.iter().any(|(member, _)| *member != self.feed.id)
    }

    fn is_heard(&self) -> bool {
        self.feed.heard_by_number().contains_key(&self.own_number)
    }

    /// Waits until all have acknowledged or lapsed. Returns how to take those out of the registry that have lapsed, and to
    /// note that it is complete.
    pub(crate) async fn wait(&self, told: &Told) -> Option<Cmd> {
        if mutant::is(Mutant::EarlyBarrier) {
            return None;
        }
        let acknowledging = async {
            loop {
                if told.all_can_acknowledge() && self.silent(told).next().is_none() {
                    return;
                }
                self.heard.told.notified().await;
            }
        };
        if timeout_at(told.lapses, acknowledging).await.is_ok() {
            return None;
        }
        let silent: Vec<_> = self.silent(told).collect();
        // From now on they can serve none.
        for _ in &silent {
            self.feed.meter.took_effect(self.heard.began.elapsed());
        }
        if silent.is_empty() && told.incomplete.is_none() {
            return None;
        }
        if !silent.is_empty()
            && self.is_heard()
            && let Some(kept_back) = self.feed.silence.may_say()
        {
            let members = silent.len();
            tracing::warn!(
                members,
                kept_back,
                "instances did not acknowledge an invalidation, and are expelled unless they live"
            );
        }
        let names = &self.feed.names;
        let mut command = SCRIPTS.expel.call(2, 128 + 64 * silent.len());
        command.arg(&names.never).arg(&names.members).arg(told.incomplete.as_deref().unwrap_or_default());
        for (member, number) in silent {
            command.arg(member).arg(number);
        }
        Some(command)
    }

    /// Those who have not acknowledged. What is kept here is told directly.
    fn silent<'t>(&'t self, told: &'t Told) -> impl Iterator<Item = &'t (String, String)> {
        let is_silent = |member: &String| !self.heard.acknowledged().contains(&(member.clone(), told.number));
        told.members.iter().filter(move |(member, _)| *member != self.feed.id && is_silent(member))
    }
}

impl Drop for Announcing<'_> {
    fn drop(&mut self) {
        self.feed.heard_by_number().remove(&self.own_number);
    }
}

/// A name for a registry that is made anew; no two are alike.
pub(crate) fn registry_name() -> String {
    format!("{:032x}", fastrand::u128(..))
}
