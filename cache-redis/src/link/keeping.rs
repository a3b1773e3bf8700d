//! Taking part in the [feed](crate::feed): the connection that it comes over, and the renewals of an instance that keeps
//! values in its own memory. It goes on for as long as the session does and the task that keeps the link.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cache_core::Target;
use redis::{Pipeline, Value};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, timeout},
};

use super::{Link, jittered};
use crate::{
    call_error::CallError,
    connection::{Connection, checked},
    error::{ConnectError, UnexpectedReply},
    feed::{
        Ack, Counted, Ear, Ears, LAPSE, LEASE, Part, RENEWAL, Renewed,
        barrier::{Announcing, Told, registry_name},
    },
    invalidate::Over,
    script::SCRIPTS,
    session::{Answer, Session},
};

/// Backoff between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long it is until a server that refuses the feed is asked again: its permissions may have changed.
const REFUSED: Duration = Duration::from_secs(10);

/// Why the feed's connection was given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("it closed, or another is needed")]
    Closed,
    #[error("{0}")]
    Refused(CallError),
    #[error("{0}")]
    Call(CallError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl From<CallError> for Lost {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// A member as the registry has it.
#[derive(Default)]
struct Member {
    /// What the registry had for it last.
    number: String,
    /// A registry that is not complete, and since when it has been there.
    incomplete: Option<(String, Instant)>,
}

impl Link {
    /// Notes whether anybody takes part, unless that is known.
    pub(super) async fn look_for_members(&self, session: &Session) {
        if self.feed.has_seen_members() {
            return;
        }
        let mut count = redis::cmd("HLEN");
        count.arg(&self.feed.names.members);
        // An error says nothing here: the next call meets with it too.
        if let Ok(Answer::From(_, Value::Int(count @ 1..))) =
            session.send(self.feed.names.at, self.call_timeout, |_| count.clone()).await
        {
            self.feed.see_registry(count > 1);
        }
    }

    /// Waits until no member can serve what was announced.
    pub(super) async fn wait_for_members(
        &self,
        session: &Arc<Session>,
        announcing: Announcing<'_>,
        told: Option<Told>,
    ) {
        let Some(mut told) = told else { return };
        let mut announcing = announcing;
        if announcing.is_worth_repeating(&told) && self.feed.ears_open(Instant::now() + self.call_timeout).await {
            announcing = announcing.again();
            match self.over(session).announce(&announcing).await {
                // The first one counts as well.
                Ok(Some(again)) => told = again.instead_of(told),
                Ok(None) => return,
                Err(_) => {}
            }
        }
        if let Some(expel) = announcing.wait(&told).await {
            // Without an answer the next invalidation finds them again.
            drop(session.send(self.feed.names.at, self.call_timeout, |_| expel.clone()).await);
        }
    }

    /// Tells all members that nothing is good any more. Nobody waits for them.
    pub(super) async fn announce_everything(&self, session: &Session, bound: Duration) -> Result<(), CallError> {
        let announcing = self.feed.announcing([Target::All].iter());
        Over { bound, ..self.over(session) }.announce(&announcing).await.map(drop)
    }

    /// Keeps the feed's connection while there is anything to hear. Never ends.
    pub(super) async fn take_part(&self, session: &Arc<Session>) {
        let mut part = self.feed.part();
        let mut pause = FIRST_PAUSE;
        loop {
            // The link outlives this.
            drop(part.wait_for(|part| *part > Part::None).await);
            let part_now = self.feed.allowed(*part.borrow_and_update());
            let began = Instant::now();
            let lost = tokio::select! {
                // In this order, so that the same events take the same course twice.
                biased;
                Err(lost) = self.listen(session, part_now) => lost,
                _ = part.changed() => Lost::Closed,
            };
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            match lost {
                Lost::Refused(error) => {
                    self.tell_refusal(&error);
                    self.feed.refuse();
                    tokio::time::sleep(REFUSED).await;
                }
                lost => {
                    tracing::debug!(at = session.at(), %lost, "lost the feed of invalidations");
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Once: nobody may be there to grant it.
    fn tell_refusal(&self, error: &CallError) {
        if !self.is_refusal_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                at = self.at(),
                %error,
                "Redis refuses the feed of invalidations: values in memory are not served unasked, and invalidations wait"
            );
        }
    }

    async fn listen(&self, session: &Arc<Session>, part: Part) -> Result<Infallible, Lost> {
        let names = &self.feed.names;
        // Its answer tells where the registry is, should it have moved.
        let mut look = redis::cmd("EXISTS");
        look.arg(&names.members);
        let owner = match session.send(names.at, self.call_timeout, |_| look.clone()).await? {
            Answer::From(owner, _) => owner,
            Answer::OnTheMove => return Err(Lost::Closed),
        };
        let (ear, acks) = Ear::new(&self.feed);
        let opening = Connection::open(&self.address, owner.server(), Box::new(ear.listener()));
        let opened = timeout(self.connect_timeout, opening).await.map_err(|_| Lost::Closed)?;
        let connection = Arc::new(opened?);
        if connection.incarnation() != owner.incarnation() {
            return Err(Lost::Closed);
        }
        self.subscribe(&connection, part).await?;
        ear.open(Ears::Open);
        let counted = (part == Part::Member).then(|| self.feed.membership());
        let mut member =
            Membership { link: self, ear, connection: Arc::clone(&connection), member: Member::default(), counted };
        let (closed, connection) = (member.ear.closing(), &connection);
        tokio::select! {
            biased;
            () = closed.notified() => Err(Lost::Closed),
            lost = self.acknowledge(connection, acks) => lost,
            lost = member.keep(part) => lost,
        }
    }

    /// Also tries whether it may publish, without which it could not acknowledge.
    async fn subscribe(&self, connection: &Connection, part: Part) -> Result<(), Lost> {
        let names = &self.feed.names;
        let own = format!("{}{}", names.acks, self.feed.id);
        let channels = [own.as_str(), names.channel.as_str()];
        let channels = if part == Part::Member { &channels[..] } else { &channels[..1] };
        let refused = |error| match error {
            CallError::Failed(_) => Lost::Refused(error),
            error => Lost::Call(error),
        };
        connection.subscribe(channels, self.connect_timeout).await.map_err(refused)?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&own).arg("");
        connection.send(&publish, self.connect_timeout).await.map(drop).map_err(refused)
    }

    /// Sends acknowledgements, those together that have come together.
    async fn acknowledge(&self, connection: &Connection, mut acks: UnboundedReceiver<Ack>) -> Result<Infallible, Lost> {
        while let Some(ack) = acks.recv().await {
            let mut publish = Pipeline::new();
            let more = std::iter::from_fn(|| acks.try_recv().ok());
            for Ack { channel, message } in std::iter::once(ack).chain(more) {
                publish.cmd("PUBLISH").arg(channel).arg(message);
            }
            for reply in connection.send_all(&publish, LEASE).await? {
                checked(reply).map_err(Lost::Refused)?;
            }
        }
        Err(Lost::Closed)
    }
}

/// A member over one connection.
struct Membership<'a> {
    link: &'a Link,
    ear: Ear,
    connection: Arc<Connection>,
    member: Member,
    /// Of a member, until it is out of the registry.
    counted: Option<Counted>,
}

impl Membership<'_> {
    async fn keep(&mut self, part: Part) -> Result<Infallible, Lost> {
        loop {
            let next = Instant::now() + RENEWAL;
            if part == Part::Member {
                // Not while a renewal is under way: it would be in the registry by another number than it leaves with.
                if self.link.feed.has_resigned() {
                    return Err(Lost::Closed);
                }
                self.renew().await?;
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = self.link.feed.resigned() => {}
                }
            } else {
                // A connection that hears nothing any more would make every invalidation wait.
                self.connection.send(&redis::cmd("PING"), LEASE).await?;
                tokio::time::sleep_until(next).await;
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Lost> {
        let names = &self.link.feed.names;
        let mut command = SCRIPTS.renew_member.call(3, 256);
        command.arg(&names.never).arg(&names.members).arg(&names.sequence);
        command.arg(self.connection.incarnation()).arg(registry_name()).arg(&self.link.feed.id);
        let waited = self.member.incomplete.as_ref().filter(|(_, since)| since.elapsed() >= LAPSE);
        command.arg(waited.map_or("", |(name, _)| name));
        let sent = self.ear.renew().ok_or(Lost::Closed)?;
        let reply = self.connection.send(&command, LEASE).await?;
        let (was_missing, number, last, incomplete): (String, String, u64, String) =
            redis::from_redis_value(reply).map_err(|_| CallError::Failed(Box::new(UnexpectedReply)))?;
        self.ear.renewed(&Renewed { sent, was_missing: was_missing == "1", last });
        self.member.number = number;
        self.member.incomplete = Some(incomplete).filter(|name| !name.is_empty()).map(|name| {
            let known = self.member.incomplete.take().filter(|(known, _)| *known == name);
            known.unwrap_or_else(|| (name, Instant::now()))
        });
        Ok(())
    }
}

impl Drop for Membership<'_> {
    /// Leaves the registry, so that nobody waits for one that is empty. Should it have renewed over another connection
    /// meanwhile, its number is another one.
    fn drop(&mut self) {
        self.link.feed.lose();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.member.number.is_empty() {
            return;
        }
        let names = &self.link.feed.names;
        let mut leave = SCRIPTS.expel.call(2, 256);
        leave.arg(&names.never).arg(&names.members).arg("").arg(&self.link.feed.id).arg(&self.member.number);
        let (connection, counted) = (Arc::clone(&self.connection), self.counted.take());
        runtime.spawn(async move {
            drop(connection.send(&leave, LEASE).await);
            drop(counted);
        });
    }
}
