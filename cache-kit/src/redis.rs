//! The steps in Redis: each one script, in one round trip.

use std::{
    any::Any,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cache_core::{
    Store,
    store::{Link, StoreError},
};
use cache_redis::{
    RedisStore,
    side::{Listening, Reply, SideScript},
};

use crate::backend::{
    Asked, At, Backend, Change, Expected, Found, Heard, Named, Rate, Record, Removed, Seen, Spot, Subscribed, Verdict,
    Version, version,
};
use crate::geo;

/// Kind, version, time and incarnation.
const HEAD: usize = 69;

/// How long a removal is remembered beyond the time that the record still had, for one that is sent again, and to tell it from a loss.
const REMEMBERED: Duration = Duration::from_secs(300);

/// No answer is under way for so many microseconds.
const SLOWEST: u64 = 30_000_000;

macro_rules! script {
    ($name:literal over records) => {
        LazyLock::new(|| {
            SideScript::new(concat!(include_str!("script/common.lua"), include_str!(concat!("script/", $name, ".lua"))))
                .with_incarnation()
        })
    };
    ($name:literal) => {
        LazyLock::new(|| SideScript::new(include_str!(concat!("script/", $name, ".lua"))))
    };
}

static READ: LazyLock<SideScript> = script!("read" over records);
static WRITE: LazyLock<SideScript> = script!("write" over records);
static REMOVE: LazyLock<SideScript> = script!("remove" over records);
static LIST: LazyLock<SideScript> = script!("list");
static LIMIT: LazyLock<SideScript> = script!("limit");
static LOCK: LazyLock<SideScript> = script!("lock");
static KEEP: LazyLock<SideScript> = script!("keep");
static PUBLISH: LazyLock<SideScript> = script!("publish");
static PLACE: LazyLock<SideScript> = script!("place");

/// What `write` and `remove` answer instead of milliseconds to a call that came too late.
const TOO_LATE: i64 = -3;

/// A store that is Redis.
pub(crate) struct Redis {
    store: Arc<dyn Store>,
    /// Where the time here begins.
    start: Instant,
    /// How much the clock of Redis is ahead of the time here, in microseconds; 0: not known.
    ahead: AtomicU64,
}

/// An answer that no script here gives.
#[derive(Debug, thiserror::Error)]
#[error("Redis answered what it cannot have been asked for")]
struct Unexpected;

impl Redis {
    /// Over this store, if it is Redis.
    pub(crate) fn over(store: &Arc<dyn Store>) -> Option<Self> {
        let any: &dyn Any = &**store;
        any.is::<RedisStore>().then(|| Self {
            store: Arc::clone(store),
            start: Instant::now(),
            ahead: AtomicU64::new(0),
        })
    }

    fn store(&self) -> &RedisStore {
        let any: &dyn Any = &*self.store;
        any.downcast_ref().expect("it was one when this was made")
    }

    /// Microseconds since this was made.
    fn here(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX >> 8)
    }

    /// When whoever calls now no longer waits, by the clock of Redis; 0: not known. An answer takes its time, so the clock is known to be ahead by so
    /// much at least, and this is never too late.
    fn deadline(&self) -> u64 {
        match self.ahead.load(Ordering::Relaxed) {
            0 => 0,
            ahead => ahead + self.here() + u64::try_from(self.store().call_timeout().as_micros()).unwrap_or(0),
        }
    }

    /// Calls a script that changes a record. One that would be executed after its caller has gone on to something else is not.
    async fn change_record(
        &self,
        script: &SideScript,
        spot: &Spot,
        arguments: &[&[u8]],
    ) -> Result<Vec<Reply>, StoreError> {
        for _ in 0..2 {
            let deadline = self.deadline().to_string();
            let all: Vec<&[u8]> = std::iter::once(deadline.as_bytes()).chain(arguments.iter().copied()).collect();
            let answer = self.over_record(script, spot, &all).await?;
            if answer.get(2) != Some(&Reply::Int(TOO_LATE)) {
                return Ok(answer);
            }
            // The clock of another server, or one that was set: what was known of it is worth nothing.
            let now = integer(answer.get(1))?;
            self.ahead.store(now.saturating_sub(self.here()).max(1), Ordering::Relaxed);
        }
        Err(StoreError::Unavailable)
    }

    /// Learns from an answer how much the clock of Redis is ahead.
    fn seen(&self, answer: &[Reply]) -> Result<Seen, StoreError> {
        let seen = seen(answer)?;
        let ahead = seen.now.saturating_sub(self.here()).max(1);
        if self.ahead.load(Ordering::Relaxed) > ahead.saturating_add(SLOWEST) {
            // The clock was set back, or is that of another server.
            self.ahead.store(ahead, Ordering::Relaxed);
        } else {
            self.ahead.fetch_max(ahead, Ordering::Relaxed);
        }
        Ok(seen)
    }

    /// Calls a script over a record and its list.
    async fn over_record(
        &self,
        script: &SideScript,
        spot: &Spot,
        arguments: &[&[u8]],
    ) -> Result<Vec<Reply>, StoreError> {
        let mut names = vec![spot.at.name.as_str()];
        names.extend(spot.list.as_ref().map(|(list, _)| list.as_str()));
        let mut all: Vec<&[u8]> = arguments.to_vec();
        all.extend(spot.list.as_ref().map(|(_, name)| name.as_bytes()));
        list_of(self.store().call_script(script, &spot.at.place, &names, &all).await?)
    }
}

#[async_trait]
impl Backend for Redis {
    fn contact(&self) -> u64 {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let link = self.store().link().map(|link| *link.borrow());
        let here = match link {
            Some(Link::Down { since, .. }) => {
                u64::try_from(since.saturating_duration_since(self.start).as_micros()).unwrap_or(0)
            }
            _ => self.here(),
        };
        if ahead == 0 { 0 } else { ahead + here }
    }

    async fn read(&self, spot: &Spot, touch: Option<Duration>) -> Result<Seen, StoreError> {
        let touch = touch.map_or(0, millis).to_string();
        self.seen(&self.over_record(&READ, spot, &[touch.as_bytes()]).await?)
    }

    async fn write(
        &self,
        spot: &Spot,
        expected: &Expected,
        version: &Version,
        bytes: &[u8],
        kept: Duration,
    ) -> Result<Seen, StoreError> {
        let (expected, kept) = (text_of(expected), millis(kept).to_string());
        self.seen(&self.change_record(&WRITE, spot, &[&expected, version, kept.as_bytes(), bytes]).await?)
    }

    async fn remove(&self, spot: &Spot, expected: &Expected, who: &Version) -> Result<Removed, StoreError> {
        let (expected, remembered) = (text_of(expected), millis(REMEMBERED).to_string());
        let answer = self.change_record(&REMOVE, spot, &[&expected, who, remembered.as_bytes()]).await?;
        let is_done = matches!(answer.get(2), Some(Reply::Int(1)));
        Ok(Removed { seen: self.seen(&answer)?, is_done })
    }

    async fn list(&self, at: &At, most: usize, gone: &[Named]) -> Result<Vec<String>, StoreError> {
        let most = most.to_string();
        let members = gone.iter().map(|gone| gone.member.as_bytes());
        let arguments: Vec<&[u8]> = std::iter::once(most.as_bytes()).chain(members).collect();
        let records = gone.iter().map(|gone| gone.record.as_str());
        let names: Vec<&str> = std::iter::once(at.name.as_str()).chain(records).collect();
        let answer = self.store().call_script(&LIST, &at.place, &names, &arguments).await?;
        list_of(answer)?.iter().map(|name| text(Some(name))).collect()
    }

    async fn limit(&self, at: &At, rate: &Rate, cost: u64) -> Result<Verdict, StoreError> {
        let (most, span) = rate.window.unwrap_or((0, 0));
        let arguments = [cost, rate.interval, rate.ahead, most, span].map(|number| number.to_string());
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let window = format!("{}:window", at.name);
        let answer = self.store().call_script(&LIMIT, &at.place, &[&at.name, &window], &arguments).await?;
        let answer = list_of(answer)?;
        Ok(Verdict {
            is_allowed: integer(answer.first())? == 1,
            wait: Duration::from_micros(integer(answer.get(1))?),
            left: integer(answer.get(2))?,
            free: Duration::from_micros(integer(answer.get(3))?),
        })
    }

    async fn lock(
        &self,
        at: &At,
        who: &Version,
        lasts: Duration,
        waits: Option<Duration>,
        above: u64,
    ) -> Result<Asked, StoreError> {
        let [queue, waiting, fence] = around(at);
        let (lasts, waits) = (millis(lasts).to_string(), waits.map_or(0, millis).to_string());
        let above = above.to_string();
        let names = [at.name.as_str(), &queue, &waiting, &fence];
        let arguments: [&[u8]; 4] = [who, lasts.as_bytes(), waits.as_bytes(), above.as_bytes()];
        let answer = list_of(self.store().call_script(&LOCK, &at.place, &names, &arguments).await?)?;
        let number = integer(answer.get(1))?;
        Ok(if integer(answer.first())? == 1 {
            Asked::Held(number)
        } else {
            Asked::Taken(Duration::from_millis(number))
        })
    }

    async fn keep(&self, at: &At, who: &Version, lasts: Option<Duration>) -> Result<bool, StoreError> {
        let [queue, waiting, _] = around(at);
        let lasts = lasts.map_or(0, millis).to_string();
        let names = [at.name.as_str(), &queue, &waiting];
        let answer = self.store().call_script(&KEEP, &at.place, &names, &[who, lasts.as_bytes()]).await?;
        Ok(answer == Reply::Int(1))
    }

    async fn publish(&self, at: &At, bytes: &[u8]) -> Result<u64, StoreError> {
        let channel = self.store().side_name(&at.place, &at.name);
        let arguments: [&[u8]; 3] = [channel.as_bytes(), &version(), bytes];
        let answer = self.store().call_script(&PUBLISH, &at.place, &[&format!("{}:last", at.name)], &arguments).await?;
        integer(Some(&answer))
    }

    async fn subscribe(&self, at: &At) -> Result<Box<dyn Subscribed>, StoreError> {
        let listening = self.store().listen(&at.place, &[&at.name]).await?;
        Ok(Box::new(Ears(listening)))
    }

    async fn change(&self, at: &At, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            let arguments: Vec<String> = match change {
                Change::Put { name, longitude, latitude } => {
                    vec!["+".to_owned(), longitude.to_string(), latitude.to_string(), name.clone()]
                }
                Change::Remove { name } => vec!["-".to_owned(), name.clone()],
            };
            let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
            self.store().call_script(&PLACE, &at.place, &[&at.name], &arguments).await?;
        }
        Ok(())
    }

    async fn near(
        &self,
        at: &At,
        longitude: f64,
        latitude: f64,
        metres: f64,
        most: usize,
    ) -> Result<Vec<Found>, StoreError> {
        // Redis takes no more, and nobody has.
        let count = most.min(1 << 40).to_string();
        let arguments = [longitude.to_string(), latitude.to_string(), geo::asked(latitude, metres).to_string(), count];
        let arguments: Vec<&[u8]> = std::iter::once(&b"?"[..]).chain(arguments.iter().map(String::as_bytes)).collect();
        let answer = list_of(self.store().call_script(&PLACE, &at.place, &[&at.name], &arguments).await?)?;
        let found = answer.into_iter().map(|reply| found(reply, (longitude, latitude)));
        Ok(geo::nearest(found.collect::<Result<_, _>>()?, metres, most))
    }
}

struct Ears(Listening);

#[async_trait]
impl Subscribed for Ears {
    async fn next(&mut self) -> Option<Heard> {
        let (_, message) = self.0.next().await?;
        let (numbering, rest) = message.split_first_chunk::<32>()?;
        let (number, bytes) = rest.split_at_checked(20)?;
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        Some(Heard { numbering: *numbering, number, bytes: bytes.to_vec() })
    }
}

/// What is kept beside a lock: the queue, who in it still waits, and the last fence.
fn around(at: &At) -> [String; 3] {
    ["queue", "waiting", "fence"].map(|what| format!("{}:{what}", at.name))
}

fn text_of(expected: &Expected) -> Vec<u8> {
    match expected {
        Expected::Anything => b"*".to_vec(),
        Expected::Nothing | Expected::NothingSince(_) => b"-".to_vec(),
        Expected::Version(version) => version.to_vec(),
        Expected::Before(time) => format!("<{time}").into_bytes(),
    }
}

fn unexpected() -> StoreError {
    StoreError::Failed(Box::new(Unexpected))
}

fn list_of(reply: Reply) -> Result<Vec<Reply>, StoreError> {
    if let Reply::List(list) = reply { Ok(list) } else { Err(unexpected()) }
}

fn text(reply: Option<&Reply>) -> Result<String, StoreError> {
    match reply {
        Some(Reply::Bytes(bytes)) => String::from_utf8(bytes.clone()).map_err(|_| unexpected()),
        _ => Err(unexpected()),
    }
}

/// A number; what is below zero counts as zero.
fn integer(reply: Option<&Reply>) -> Result<u64, StoreError> {
    match reply {
        Some(Reply::Int(number)) => Ok(u64::try_from(*number).unwrap_or(0)),
        reply => text(reply)?.parse().map_err(|_| unexpected()),
    }
}

fn seen(answer: &[Reply]) -> Result<Seen, StoreError> {
    let [Reply::Bytes(incarnation), _, Reply::Int(left), Reply::Bytes(record)] = answer else {
        return Err(unexpected());
    };
    let was_removed = record == b"X";
    let record = if record.is_empty() || was_removed {
        None
    } else {
        let version = record.get(1..33).and_then(|version| version.try_into().ok()).ok_or_else(unexpected)?;
        let bytes = record.get(HEAD..).ok_or_else(unexpected)?.to_vec();
        // It was written by the server as it is now.
        let is_of_this_life = record.get(HEAD - 16..HEAD) == Some(incarnation.as_slice());
        let written = record.get(33..53).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let written = written.ok_or_else(unexpected)?;
        Some(Record {
            version,
            bytes,
            written,
            is_of_this_life,
            left: Duration::from_millis(u64::try_from(*left).unwrap_or(0)),
        })
    };
    Ok(Seen { incarnation: incarnation.clone(), now: integer(answer.get(1))?, record, was_removed })
}

/// The distance is reckoned as in memory: Redis rounds it.
fn found(reply: Reply, from: (f64, f64)) -> Result<Found, StoreError> {
    let parts = list_of(reply)?;
    let number = |reply: Option<&Reply>| text(reply)?.parse().map_err(|_| unexpected());
    let Some(Reply::List(at)) = parts.get(2) else { return Err(unexpected()) };
    let (longitude, latitude) = geo::rounded(number(at.first())?, number(at.get(1))?);
    let metres = geo::metres(from, (longitude, latitude));
    Ok(Found { name: text(parts.first())?, metres, longitude, latitude })
}

/// Redis takes whole milliseconds, and no zero.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}
