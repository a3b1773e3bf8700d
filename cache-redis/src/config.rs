//! Where Redis is, and how the store treats it.
//!
//! The URL is `redis://[user][:password@]host[:port][/db]`, `rediss://…` for TLS, or
//! `redis+unix:///path[?db=1&user=…&pass=…]`; `valkey` may stand for `redis`. All take `?on_failover=fence|trust`
//! ([`OnFailover`]). Options that do not exist are errors.
//!
//! The URL holds the password, so nothing here prints it: `Debug` and errors show host, port and database only.

use std::{fmt, path::PathBuf, time::Duration};

use redis::{Client, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, io::tcp::TcpSettings};
use url::Url;

use crate::error::ConnectError;

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
    url: String,
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
        Self {
            url: url.into(),
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
    /// file replays it before it trusts Redis. The file is for one instance at a time; it is made where there is none.
    ///
    /// A disk that is full, fails or hangs is logged as an error, and the journal is in memory only.
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

    /// Trusts these certificate authorities (PEM) for `rediss://` instead of the machine's.
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

    /// Reads the URL.
    pub(crate) fn address(&self) -> Result<Address, ConnectError> {
        let (info, on_failover) = parse(&self.url)?;
        let (info, on_failover) = (with_tcp_settings(info), on_failover.unwrap_or(self.on_failover));
        let at = info.addr().to_string();
        let database = info.redis_settings().db();
        let is_resp3 = info.redis_settings().protocol() != ProtocolVersion::RESP2;
        let client = self.client(info, &at)?;
        Ok(Address {
            client,
            at,
            database,
            is_resp3,
            on_failover,
            #[cfg(feature = "__wire")]
            wire: self.wire.clone(),
        })
    }

    #[cfg(feature = "tls")]
    fn client(&self, info: ConnectionInfo, at: &str) -> Result<Client, ConnectError> {
        let tls_error = |source| ConnectError::Tls { at: at.to_owned(), source: Box::new(source) };
        if !matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            return Client::open(info).map_err(|_| ConnectError::InvalidUrl("it names no server"));
        }
        // rustls panics where it has to choose between several providers, which other crates of a program may bring.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that somebody else was faster.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let certificates = redis::TlsCertificates {
            client_tls: self.tls.client.clone(),
            root_cert: self.tls.root_certificates.clone(),
        };
        Client::build_with_tls(info, certificates).map_err(tls_error)
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self, reason = "the TLS settings are in self, where there are any")]
    fn client(&self, info: ConnectionInfo, _at: &str) -> Result<Client, ConnectError> {
        Client::open(info).map_err(|_| ConnectError::InvalidUrl("it names no server"))
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = parse(&self.url).map_or("(not valid)".to_owned(), |(info, _)| info.addr().to_string());
        f.debug_struct("RedisConfig")
            .field("at", &at)
            .field("namespace", &self.namespace)
            .field("call_timeout", &self.call_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("journal_limit", &self.journal_limit)
            .finish_non_exhaustive()
    }
}

/// A URL that was read.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) client: Client,
    /// Host and port, or the socket: what may be logged.
    pub(crate) at: String,
    pub(crate) database: i64,
    pub(crate) is_resp3: bool,
    pub(crate) on_failover: OnFailover,
    #[cfg(feature = "__wire")]
    pub(crate) wire: Option<crate::wire::Wire>,
}

fn parse(url: &str) -> Result<(ConnectionInfo, Option<OnFailover>), ConnectError> {
    let url = Url::parse(url).map_err(|error| ConnectError::InvalidUrl(describe(error)))?;
    let valid = match url.scheme() {
        "redis" | "rediss" | "valkey" | "valkeys" => "protocol, on_failover",
        "unix" | "redis+unix" | "valkey+unix" => "db, user, pass, protocol, on_failover",
        _ => {
            return Err(ConnectError::InvalidUrl("it has to begin with redis://, rediss:// or redis+unix://"));
        }
    };
    if matches!(url.scheme(), "rediss" | "valkeys") && cfg!(not(feature = "tls")) {
        return Err(ConnectError::Unsupported("rediss:// needs the feature `tls`"));
    }
    check_options(&url, valid)?;
    let on_failover = url.query_pairs().find(|(name, _)| name == "on_failover").map(|(_, value)| match &*value {
        "fence" => Ok(OnFailover::Fence),
        "trust" => Ok(OnFailover::Trust),
        _ => Err(ConnectError::InvalidUrl("on_failover is either fence or trust")),
    });
    let on_failover = on_failover.transpose()?;
    let resp2 = url.query_pairs().any(|(name, value)| name == "protocol" && matches!(&*value, "2" | "resp2"));
    let info = url
        .into_connection_info()
        // The error's detail may be a piece of a password with an unescaped `/`: it stays out.
        .map_err(|_| ConnectError::InvalidUrl("host, database number or protocol cannot be read"))?;
    if info.redis_settings().db() < 0 {
        return Err(ConnectError::InvalidUrl("the database number is negative"));
    }
    let protocol = if resp2 { ProtocolVersion::RESP2 } else { ProtocolVersion::RESP3 };
    let settings =
        info.redis_settings().clone().set_protocol(protocol).set_lib_name("staleproof", env!("CARGO_PKG_VERSION"));
    Ok((info.set_redis_settings(settings), on_failover))
}

fn check_options(url: &Url, valid: &'static str) -> Result<(), ConnectError> {
    if url.fragment().is_some() {
        return Err(ConnectError::InvalidUrl("it has a fragment (`#`); in a password write it as `%23`"));
    }
    // An `@` behind the `?` means that both belong to a password.
    let may_tell = !url.query().unwrap_or_default().contains('@');
    for (name, _) in url.query_pairs() {
        if !valid.split(", ").any(|option| option == name) {
            return Err(ConnectError::UnknownOption { option: may_tell.then(|| name.into_owned()), valid });
        }
    }
    Ok(())
}

fn describe(error: url::ParseError) -> &'static str {
    match error {
        url::ParseError::RelativeUrlWithoutBase => "it has to begin with redis://, rediss:// or redis+unix://",
        url::ParseError::EmptyHost => "the host is missing",
        url::ParseError::InvalidPort => {
            "the port is not a number (`:`, `/`, `?`, `#` and `@` in a password have to be percent-encoded)"
        }
        _ => "it cannot be read",
    }
}

/// Small commands must not wait for each other, and a peer that is gone without a word must be noticed.
fn with_tcp_settings(info: ConnectionInfo) -> ConnectionInfo {
    let keepalive = redis::io::tcp::socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(Duration::from_secs(5));
    info.set_tcp_settings(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        RedisConfig::new(url).address().expect_err(url).to_string()
    }

    #[test]
    fn urls_of_every_kind_are_read() {
        let at = |url: &str| RedisConfig::new(url).address().map(|address| (address.at, address.database)).expect(url);
        assert_eq!(at("redis://localhost"), ("localhost:6379".to_owned(), 0));
        assert_eq!(at("redis://user:p%40ss@cache:7000/3"), ("cache:7000".to_owned(), 3));
        assert_eq!(at("valkey://[::1]:1?protocol=resp2"), ("::1:1".to_owned(), 0));
        assert_eq!(at("redis+unix:///run/redis.sock?db=2&user=a&pass=b"), ("/run/redis.sock".to_owned(), 2));
        assert_eq!(at("unix:///run/redis.sock"), ("/run/redis.sock".to_owned(), 0));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let secret = "hunter2";
        for (url, expected) in [
            ("hunter2", "has to begin with redis://"),
            ("http://:hunter2@host", "has to begin with redis://"),
            ("redis://:hunter2@", "host"),
            ("redis://:hunter2@host:port", "not a number"),
            ("redis://:hunter2@host/first", "database number"),
            ("redis://:hunter2@host/-1", "negative"),
            ("redis://:hunter2@host?protocol=4", "protocol"),
            ("redis://:hunter2@host?databse=4", "unknown option `databse`; the options are: protocol"),
            ("unix:///s?pass=hunter2&timeout=4", "unknown option `timeout`; the options are: db, user, pass, protocol"),
            ("redis://:hunter2@host?on_failover=hope", "either fence or trust"),
            ("redis://user:1?hunter2=x@host", "unknown option; "),
            ("redis://user:1/hunter2@host", "database number"),
            ("redis://user:1#hunter2@host", "fragment"),
            ("redis://user:hunter2/x@host", "not a number"),
        ] {
            let message = error(url);
            assert!(message.contains(expected), "{url}: {message}");
            assert!(!message.contains(secret), "{url}: {message}");
            let debug = format!("{:?} {:?}", RedisConfig::new(url), RedisConfig::new(url).address());
            assert!(!debug.contains(secret), "{url}: {debug}");
        }
    }

    #[test]
    fn the_url_says_what_happens_on_failover_or_the_builder_does() {
        let policy = |config: RedisConfig| config.address().map(|address| address.on_failover).expect("a good URL");
        let config = |url: &str| RedisConfig::new(url).on_failover(OnFailover::Trust);
        assert_eq!(policy(RedisConfig::new("redis://host")), OnFailover::Fence);
        assert_eq!(policy(config("redis://host?protocol=resp2")), OnFailover::Trust);
        assert_eq!(policy(config("redis://host?on_failover=fence")), OnFailover::Fence);
        assert_eq!(policy(RedisConfig::new("unix:///s?db=1&on_failover=trust")), OnFailover::Trust);
    }

    #[test]
    fn debug_of_a_good_configuration_tells_no_password() {
        let config = RedisConfig::new("redis://user:hunter2@host/1");
        assert!(!format!("{config:?} {:?}", config.address()).contains("hunter2"));
    }
}
