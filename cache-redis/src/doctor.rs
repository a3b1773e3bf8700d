//! What is wrong with a Redis, and with how it is used.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::doctor::{Finding, Severity};
use redis::{PushKind, RedisError, Value};
use tokio::{sync::Notify, time::timeout};

use crate::{
    call_error::CallError,
    config::{Address, Topology},
    connection::{Connection, Listener, field, info_command},
    link::Link,
};

/// How often the server is timed.
const PINGS: usize = 20;

/// A round trip that takes longer costs a validated hit more than many a load does.
const SLOW: Duration = Duration::from_millis(5);

/// Below this many bytes a subscriber is soon closed by what others invalidate.
const PUBSUB_BUFFER: u64 = 1 << 20;

/// How long it may take to connect.
const SLOWEST_OPENING: Duration = Duration::from_secs(3);

/// How long a message may take through the feed.
const FEED: Duration = Duration::from_secs(1);

impl Link {
    /// Everything that is found at all servers.
    pub(crate) async fn examine(&self) -> Vec<Finding> {
        // Out of reach: the cache itself says so.
        let Ok(session) = self.session() else { return Vec::new() };
        let mut findings = Vec::new();
        if !self.address().is_resp3 {
            findings.push(Finding::new(
                Severity::Warning,
                "resp2",
                "the connection speaks RESP2",
                "there is no feed of invalidations over it: leased copies are never served, and invalidations wait for \
                 a second where others lease copies; take `protocol=resp2` out of the URL",
            ));
        }
        for connection in session.connections() {
            let server = Server { connection, address: self.address(), bound: self.call_timeout() };
            match server.examine().await {
                Ok(found) => findings.extend(found),
                Err(error) => findings.push(Finding::new(
                    Severity::Error,
                    "no-answer",
                    format!("{} does not say how it is set up: {error}", connection.at()),
                    "allow the user `info` and `config|get`, or look at the server's log",
                )),
            }
        }
        if self.address().is_resp3 {
            let at = session.connection(self.feed().names.at);
            findings.extend(self.try_feed(at).await);
        }
        findings
    }

    /// Sends a message through a channel of the feed, and waits for it.
    async fn try_feed(&self, at: &Connection) -> Option<Finding> {
        let broken = |why: &dyn std::fmt::Display| {
            Finding::new(
                Severity::Error,
                "no-feed",
                format!("the feed of invalidations does not work at {}: {why}", at.at()),
                "leased copies are never served; allow the user `subscribe`, `publish` and the channels `<namespace>:#*`",
            )
        };
        let heard = Arc::new(Notify::new());
        let listener: Listener = {
            let heard = Arc::clone(&heard);
            Box::new(move |push| {
                if push.kind == PushKind::Message {
                    heard.notify_one();
                }
            })
        };
        let channel = format!("{}doctor-{}", self.feed().names.acks, self.feed().id);
        let opened = timeout(SLOWEST_OPENING, Connection::open(self.address(), at.server(), listener)).await;
        // Another connection that cannot be opened now says nothing of the feed.
        let Ok(Ok(connection)) = opened else { return None };
        let round_trip = async {
            connection.subscribe(&[&channel], FEED).await.map_err(|error| error.to_string())?;
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&channel).arg("");
            connection.send(&publish, FEED).await.map_err(|error| error.to_string())?;
            heard.notified().await;
            Ok::<(), String>(())
        };
        match timeout(FEED, round_trip).await {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(broken(&why)),
            Err(_) => Some(broken(&format_args!("nothing came through within {} s", FEED.as_secs()))),
        }
    }
}

/// One server, and the way to it.
struct Server<'a> {
    connection: &'a Connection,
    address: &'a Address,
    bound: Duration,
}

impl Server<'_> {
    async fn examine(&self) -> Result<Vec<Finding>, CallError> {
        let mut findings = Vec::new();
        let info = self.info().await?;
        self.memory(&info, &mut findings);
        self.identity(&info, &mut findings);
        self.settings(&info, &mut findings).await;
        self.latency(&mut findings).await?;
        Ok(findings)
    }

    async fn info(&self) -> Result<String, CallError> {
        let mut all = String::new();
        for section in ["server", "memory", "persistence", "replication"] {
            let reply = match self.connection.send(&info_command(section), self.bound).await {
                // The user may not ask, which says enough.
                Err(CallError::Failed(_)) => continue,
                reply => reply?,
            };
            all.push_str(&redis::from_redis_value::<String>(reply).map_err(RedisError::from)?);
        }
        Ok(all)
    }

    /// A setting; `None` where the user may not ask, or the server has none of the name.
    async fn setting(&self, name: &str) -> Option<String> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(name);
        let pairs = match self.connection.send(&command, self.bound).await.ok()? {
            Value::Array(values) => values,
            Value::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
            _ => return None,
        };
        pairs.into_iter().nth(1).and_then(|value| redis::from_redis_value(value).ok())
    }

    fn find(&self, severity: Severity, id: &'static str, what: &str, advice: &str) -> Finding {
        Finding::new(severity, id, format!("{}: {what}", self.connection.at()), advice)
    }

    fn memory(&self, info: &str, findings: &mut Vec<Finding>) {
        let number = |name| field(info, name).and_then(|value| value.parse::<u64>().ok());
        match number("maxmemory") {
            Some(0) => findings.push(self.find(
                Severity::Warning,
                "no-maxmemory",
                "there is no limit on its memory",
                "a cache grows until the machine has none left; set `maxmemory`",
            )),
            Some(limit) if number("used_memory").is_some_and(|used| used > limit) => findings.push(self.find(
                Severity::Note,
                "full",
                "it is full, and evicts",
                "entries go before their TTL; more `maxmemory`, shorter TTLs or smaller values keep them",
            )),
            _ => {}
        }
        if field(info, "maxmemory_policy") == Some("noeviction") {
            findings.push(self.find(
                Severity::Warning,
                "noeviction",
                "it does not evict",
                "once it is full nothing more is stored; set `maxmemory-policy allkeys-lru` (or `allkeys-lfu`)",
            ));
        }
    }

    fn identity(&self, info: &str, findings: &mut Vec<Finding>) {
        let is_known = |name| field(info, name).is_some_and(|id| id.len() >= 16);
        match (is_known("master_replid"), is_known("run_id")) {
            (true, _) => {}
            (false, true) => findings.push(self.find(
                Severity::Warning,
                "hidden-replid",
                "it hides its replication id",
                "restarts are told by its run id, failovers by the connection alone; allow the user `info` in full",
            )),
            (false, false) => findings.push(self.find(
                Severity::Error,
                "hidden-identity",
                "it hides its replication id and its run id",
                "a restart from an old file cannot be told, and may bring old values back; allow the user `info`",
            )),
        }
    }

    async fn settings(&self, info: &str, findings: &mut Vec<Finding>) {
        let saves = self.setting("save").await.is_some_and(|save| !save.is_empty());
        if saves && field(info, "aof_enabled") == Some("0") {
            findings.push(self.find(
                Severity::Warning,
                "old-dumps",
                "it saves its data now and then, and has no append-only file",
                "a restart loads an old file, of which nothing is used: all is cold, and saving costs memory and time; \
                 set `save \"\"`, or `appendonly yes` if other data are in it",
            ));
        }
        // A primary of a cluster without a replica is replaced by nobody, and would take no writes at all then.
        let fails_over = matches!(self.address.topology, Topology::Sentinel { .. })
            || field(info, "connected_slaves").is_some_and(|count| count != "0");
        if fails_over && self.setting("min-replicas-to-write").await.as_deref() == Some("0") {
            findings.push(self.find(
                Severity::Warning,
                "no-replicas-required",
                "it takes writes without any replica",
                "a primary that was replaced and does not know it goes on to answer, with what others have invalidated \
                 since; set `min-replicas-to-write 1`",
            ));
        }
        if let Some(limits) = self.setting("client-output-buffer-limit").await
            && pubsub_limit(&limits).is_some_and(|limit| limit > 0 && limit < PUBSUB_BUFFER)
        {
            findings.push(self.find(
                Severity::Warning,
                "small-pubsub-buffer",
                "it closes subscribers that are little behind",
                "the feed of invalidations is lost again and again, and invalidations wait for a second each time; set \
                 `client-output-buffer-limit pubsub 32mb 8mb 60`",
            ));
        }
    }

    async fn latency(&self, findings: &mut Vec<Finding>) -> Result<(), CallError> {
        let mut times = Vec::with_capacity(PINGS);
        for _ in 0..PINGS {
            let began = Instant::now();
            self.connection.send(&redis::cmd("PING"), self.bound).await?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let median = times[PINGS / 2];
        if median > SLOW {
            findings.push(self.find(
                Severity::Warning,
                "slow",
                &format!("a round trip takes {:.1} ms", median.as_secs_f64() * 1e3),
                "a hit that asks takes as long; bring it nearer, or look for slow commands (`SLOWLOG GET`) and for what \
                 else runs there; leased copies need no round trip",
            ));
        }
        Ok(())
    }
}

/// The hard limit of subscribers, in bytes.
fn pubsub_limit(limits: &str) -> Option<u64> {
    let mut words = limits.split_whitespace();
    words.find(|word| *word == "pubsub")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_subscribers_is_found() {
        let limits = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(pubsub_limit(limits), Some(33_554_432));
        assert_eq!(pubsub_limit("normal 0 0 0"), None);
    }
}
