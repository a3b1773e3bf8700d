//! Where Redis is, and how the store treats it.
//!
//! [`RedisConfig`] says which URLs there are. Each node of one, and each sentinel, is connected to with the same TCP and TLS
//! settings.
//!
//! The URL holds the password, so nothing here prints it: `Debug` and errors show hosts, ports and database only.

mod address;
#[cfg(test)]
mod tests;
mod url;

use std::{fmt, path::PathBuf, time::Duration};

pub(crate) use self::address::{Address, Topology, elsewhere, is_tls, place};
use self::url::{Credentials, Login, Place};

/// Twice the longest entry's life: longer than any token needs.
const TOKEN_TTL: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// What the data of another server are worth, after a failover.
///
/// Replicas hear of an invalidation after it was acknowledged, so the one that takes over may lack the last ones. All
/// instances on one namespace need the same setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailover {
    /// Nothing: everything in the namespace counts as invalidated. Nothing stale is served, whatever the server lost.
    #[default]
    Fence,
    /// What they were. Each instance says again what it had invalidated in the minute before, and then uses what is
    /// there. Until all have done so, one may still serve what another had invalidated right before the failover;
    /// `min-replicas-to-write` bounds what a replica can lack. A server that was started anew, perhaps from an old
    /// file, is fenced all the same, and so is one that hides for how long it has been running.
    Trust,
}

/// Where Redis is, and how the store treats it.
///
/// | URL | what it names |
/// |---|---|
/// | `redis://[user][:password@]host[:port][/database]` | one server, at port 6379 where none is said |
/// | `redis+sentinel://[user][:password@]host[:port][,host[:port]…]/service[/database]` | the primary that these sentinels know under this name; their port is 26379 |
/// | `redis+cluster://[user][:password@]host[:port][,host[:port]…]` | the cluster that these nodes belong to |
/// | `redis+unix:///path` | one server, by its socket |
///
/// `rediss` for `redis` means TLS, with the sentinels too; `valkey` and `valkeys` may stand for both. User and password are
/// those of the servers. In all parts what is special has to be percent-encoded; an IPv6 address stands in brackets.
///
/// | option | with | meaning |
/// |---|---|---|
/// | `on_failover=fence\|trust` | all | [`OnFailover`] |
/// | `protocol=resp2\|resp3` | all | RESP3 by default; RESP2 for proxies that speak no other |
/// | `sentinel_user`, `sentinel_pass` | `redis+sentinel` | what the sentinels themselves ask for; nothing by default |
/// | `db`, `user`, `pass` | `redis+unix` | database, user and password |
///
/// In an option `+` means a space, as in every URL: a `+` of a password is `%2B` there. Options that do not exist are errors.
///
/// Without a URL, [`sentinel`](Self::sentinel) and [`cluster`](Self::cluster) take the hosts, and
/// [`credentials`](Self::credentials) and the like the rest.
///
/// No error, log or `Debug` shows a password.
///
/// ```
/// use std::time::Duration;
/// use cache_redis::RedisConfig;
///
/// let config = RedisConfig::new("redis://app:secret@cache.internal/1")
///     .namespace("staffing")
///     .call_timeout(Duration::from_millis(20));
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    place: Place,
    login: Login,
    pub(crate) namespace: String,
    pub(crate) call_timeout: Duration,
    pub(crate) timeouts_in_a_row: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) journal_limit: usize,
    pub(crate) token_ttl: Duration,
    pub(crate) require: bool,
    pub(crate) journal_file: Option<PathBuf>,
    on_failover: OnFailover,
    #[cfg(feature = "tls")]
    tls: Tls,
    #[cfg(feature = "__wire")]
    wire: Option<crate::wire::Wire>,
}

#[cfg(feature = "tls")]
#[derive(Clone, Default)]
struct Tls {
    root_certificates: Option<Vec<u8>>,
    client: Option<redis::ClientTlsConfig>,
}

impl RedisConfig {
    /// Redis at this URL, under the namespace `staleproof`.
    pub fn new(url: impl Into<String>) -> Self {
        Self::at(Place::Url(url.into()))
    }

    /// The primary that these sentinels, `host` or `host:port`, know under this name; see also
    /// [`credentials`](Self::credentials) and [`sentinel_credentials`](Self::sentinel_credentials).
    ///
    /// ```
    /// use cache_redis::RedisConfig;
    ///
    /// let config = RedisConfig::sentinel("orders", ["sentinel-1.internal", "sentinel-2.internal:26380"])
    ///     .credentials("app", "secret");
    /// # drop(config);
    /// ```
    pub fn sentinel(service: impl Into<String>, sentinels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let sentinels = sentinels.into_iter().map(Into::into).collect();
        Self::at(Place::Sentinel { service: service.into(), sentinels })
    }

    /// The cluster that these nodes, `host` or `host:port`, belong to. One is enough to find the others; several are so
    /// that one may be down.
    pub fn cluster(nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::at(Place::Cluster { seeds: nodes.into_iter().map(Into::into).collect() })
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            login: Login::default(),
            namespace: "staleproof".to_owned(),
            call_timeout: Duration::from_millis(50),
            timeouts_in_a_row: 3,
            connect_timeout: Duration::from_secs(1),
            journal_limit: 10_000,
            token_ttl: TOKEN_TTL,
            require: false,
            journal_file: None,
            on_failover: OnFailover::default(),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            #[cfg(feature = "__wire")]
            wire: None,
        }
    }

    /// Connects over a network in the hands of a test.
    #[cfg(feature = "__wire")]
    #[doc(hidden)]
    #[must_use]
    pub fn wire(mut self, wire: crate::wire::Wire) -> Self {
        self.wire = Some(wire);
        self
    }

    /// User and password of the servers, unless the URL has its own; an empty user is the default one.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login.server = Some(Credentials { user: user.into(), password: password.into() });
        self
    }

    /// User and password of the sentinels, unless the URL has them; none by default. The user needs the commands `hello`,
    /// `auth` and `sentinel|get-master-addr-by-name`, `sentinel|master`, `sentinel|sentinels`, `sentinel|myid`. With
    /// `subscribe` and the channel `+switch-master` a failover is noticed at once, and otherwise within a second.
    #[must_use]
    pub fn sentinel_credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login.sentinel = Some(Credentials { user: user.into(), password: password.into() });
        self
    }

    /// The database, unless the URL names one; 0 by default, and always in a cluster.
    #[must_use]
    pub fn database(mut self, number: u32) -> Self {
        self.login.database = Some(number);
        self
    }

    /// The first segment of every key, escaped like any other.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long a call may take; 50 ms by default.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// After how many timeouts in a row the connection is given up; 3 by default, and at least 1. Calls that overlap
    /// count once.
    #[must_use]
    pub fn timeouts_in_a_row(mut self, timeouts: u32) -> Self {
        self.timeouts_in_a_row = timeouts.max(1);
        self
    }

    /// How long an attempt to connect may take; 1 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many invalidations are remembered while Redis is out of reach; 10,000 by default. With more, the whole
    /// namespace is invalidated instead.
    #[must_use]
    pub fn journal_limit(mut self, targets: usize) -> Self {
        self.journal_limit = targets;
        self
    }

    /// Also keeps in this file what is remembered while Redis is out of reach, so that a crash loses no invalidation:
    /// [`Journaled`](cache_core::Outcome::Journaled) is returned when it is on the disk, and the next process on this
    /// file replays it before it trusts Redis. The file is for one instance at a time, to another one it is an error; it is made where there is none.
    ///
    /// A disk that is full, fails or hangs is logged as an error, and the journal is in memory only until it
    /// can be written again; then the file has "everything" for what is missing.
    #[must_use]
    pub fn journal_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal_file = Some(path.into());
        self
    }

    /// What the data are worth after a failover; [`OnFailover::Fence`] by default. The URL's `on_failover` takes
    /// precedence.
    #[must_use]
    pub fn on_failover(mut self, policy: OnFailover) -> Self {
        self.on_failover = policy;
        self
    }

    /// The longest that the tokens of nodes and tags live after the last fill; 48 h by default. They live for up to twice
    /// the TTL of what is filled below them, and for 10 minutes at least. Shorter than the entries' TTL, this costs misses.
    #[must_use]
    pub fn token_ttl(mut self, ttl: Duration) -> Self {
        self.token_ttl = ttl;
        self
    }

    /// Makes it an error of `connect` that Redis is not there.
    #[must_use]
    pub fn require(mut self) -> Self {
        self.require = true;
        self
    }

    /// Speaks TLS, as `rediss` in a URL says; with the sentinels too.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.login.tls = true;
        self
    }

    /// Trusts these certificate authorities (PEM) instead of the machine's.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.root_certificates = Some(pem.into());
        self
    }

    /// Shows this certificate (PEM) to the server.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.client = Some(redis::ClientTlsConfig { client_cert: certificate.into(), client_key: key.into() });
        self
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at =
            self.place.read(&self.login).map_or("(not valid)".to_owned(), |location| location.topology.to_string());
        f.debug_struct("RedisConfig")
            .field("at", &at)
            .field("namespace", &self.namespace)
            .field("call_timeout", &self.call_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("journal_limit", &self.journal_limit)
            .finish_non_exhaustive()
    }
}
