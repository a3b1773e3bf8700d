//! Reading where Redis is: a URL, or what the builder was told in its place.
//!
//! A URL with several hosts is read as that many with one each, so that all kinds accept and refuse the same. What is
//! wrong is told without any text of the URL that may belong to a password.

use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};
use url::Url;

use super::{OnFailover, Topology};
use crate::error::ConnectError;

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

const OPTIONS: &str = "protocol, on_failover";
const SOCKET_OPTIONS: &str = "db, user, pass, protocol, on_failover";
const SENTINEL_OPTIONS: &str = "sentinel_user, sentinel_pass, protocol, on_failover";

const SCHEMES: &str =
    "it has to begin with redis://, redis+sentinel://, redis+cluster:// (with TLS: rediss…) or redis+unix://";
const ENCODE: &str = "the port is not a number (`:`, `/`, `?`, `#` and `@` in a password have to be percent-encoded)";

/// Where Redis is, as it was told.
#[derive(Clone)]
pub(super) enum Place {
    Url(String),
    Sentinel { service: String, sentinels: Vec<String> },
    Cluster { seeds: Vec<String> },
}

/// What is told beside the place, and counts where a URL says nothing about it.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) server: Option<Credentials>,
    pub(super) sentinel: Option<Credentials>,
    pub(super) database: Option<u32>,
    pub(super) tls: bool,
}

/// User and password. The user is empty for the default one.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

/// What a place says.
#[derive(Debug)]
pub(super) struct Location {
    pub(super) topology: Topology,
    pub(super) on_failover: Option<OnFailover>,
}

impl Place {
    /// Reads it.
    pub(super) fn read(&self, login: &Login) -> Result<Location, ConnectError> {
        match self {
            Self::Url(url) => read_url(url.trim(), login),
            Self::Sentinel { service, sentinels } => {
                Several::plain(sentinels, login)?.sentinel(service.clone(), "", login)
            }
            Self::Cluster { seeds } => Several::plain(seeds, login)?.cluster(login),
        }
    }
}

/// A URL of several hosts, taken apart but not yet read.
#[derive(Clone)]
struct Several<'a> {
    is_tls: bool,
    /// With its `@`, if there is one.
    user: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    /// With the `?` or `#` that they begin with.
    options: &'a str,
}

impl<'a> Several<'a> {
    fn split(rest: &'a str, is_tls: bool) -> Self {
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let (path, options) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
        Self { is_tls, user, hosts: hosts.split(',').collect(), path, options }
    }

    /// Hosts that no URL names.
    fn plain(hosts: &'a [String], login: &Login) -> Result<Self, ConnectError> {
        let hosts = hosts.iter().map(|host| plain_host(host)).collect::<Result<_, _>>()?;
        Ok(Self { is_tls: login.tls, user: "", hosts, path: "", options: "" })
    }

    /// One URL for each host.
    fn urls(&self, port: u16, database: &str, valid: &'static str) -> Result<Vec<Url>, ConnectError> {
        let (scheme, user) = (if self.is_tls { "rediss" } else { "redis" }, self.user);
        let read = |host: &&str| {
            let url = parse(&format!("{scheme}://{user}{host}/{database}{}", self.options))?;
            check_options(&url, valid)?;
            with_port(url, port)
        };
        check_tls(self.is_tls)?;
        self.hosts.iter().map(read).collect()
    }

    fn sentinel_url(&self, login: &Login) -> Result<Location, ConnectError> {
        let path = self.path.strip_prefix('/').unwrap_or_default();
        let (service, database) = path.split_once('/').unwrap_or((path, ""));
        if self.path.contains('@') {
            return Err(ConnectError::InvalidUrl("there is an `@` behind the hosts; in a password write `/` as `%2F`"));
        }
        let service = percent_decode_str(service).decode_utf8();
        let service = service.map_err(|_| ConnectError::InvalidUrl("the service's name is not UTF-8"))?;
        self.sentinel(service.into_owned(), database, login)
    }

    fn sentinel(&self, service: String, database: &str, login: &Login) -> Result<Location, ConnectError> {
        let urls = self.urls(SENTINEL_PORT, database, SENTINEL_OPTIONS)?;
        if service.is_empty() {
            return Err(ConnectError::InvalidUrl(
                "the service's name is missing: redis+sentinel://host/service, as in `sentinel monitor service …`",
            ));
        }
        let infos = urls.iter().map(|url| connection(url, login)).collect::<Result<Vec<_>, _>>()?;
        let (Some(url), Some(server)) = (urls.first(), infos.first().cloned()) else {
            return Err(ConnectError::InvalidUrl("it names no sentinel"));
        };
        let own = sentinel_settings(url, &server, login);
        let sentinels = infos.into_iter().map(|info| info.set_redis_settings(own.clone())).collect();
        Ok(Location { on_failover: on_failover(url)?, topology: Topology::Sentinel { service, sentinels, server } })
    }

    fn cluster(&self, login: &Login) -> Result<Location, ConnectError> {
        let urls = self.urls(SERVER_PORT, self.path.trim_matches('/'), OPTIONS)?;
        let Some(url) = urls.first() else {
            return Err(ConnectError::InvalidUrl("it names no node"));
        };
        let seeds = urls.iter().map(|url| connection(url, login)).collect::<Result<Vec<_>, _>>()?;
        if seeds.iter().any(|seed| seed.redis_settings().db() != 0) {
            return Err(ConnectError::InvalidUrl("a cluster has no database but 0"));
        }
        Ok(Location { on_failover: on_failover(url)?, topology: Topology::Cluster { seeds } })
    }
}

fn read_url(url: &str, login: &Login) -> Result<Location, ConnectError> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let scheme = scheme.to_ascii_lowercase();
    let is_tls = login.tls || matches!(scheme.split('+').next(), Some("rediss" | "valkeys"));
    match scheme.as_str() {
        "redis+sentinel" | "rediss+sentinel" | "valkey+sentinel" | "valkeys+sentinel" => {
            Several::split(rest, is_tls).sentinel_url(login)
        }
        "redis+cluster" | "rediss+cluster" | "valkey+cluster" | "valkeys+cluster" => {
            Several::split(rest, is_tls).cluster(login)
        }
        "redis" | "rediss" | "valkey" | "valkeys" if Several::split(rest, is_tls).hosts.len() > 1 => {
            Err(ConnectError::InvalidUrl("several hosts are those of redis+sentinel:// or redis+cluster://"))
        }
        _ => single(url, is_tls, login),
    }
}

fn single(url: &str, is_tls: bool, login: &Login) -> Result<Location, ConnectError> {
    let url = parse(url)?;
    let is_socket = matches!(url.scheme(), "unix" | "redis+unix" | "valkey+unix");
    let valid = match url.scheme() {
        "redis" | "rediss" | "valkey" | "valkeys" => OPTIONS,
        _ if is_socket => SOCKET_OPTIONS,
        _ => return Err(ConnectError::InvalidUrl(SCHEMES)),
    };
    if is_socket && is_tls {
        return Err(ConnectError::InvalidUrl("there is no TLS on a Unix socket"));
    }
    check_tls(is_tls)?;
    check_options(&url, valid)?;
    let on_failover = on_failover(&url)?;
    Ok(Location { topology: Topology::Single(connection(&url, login)?), on_failover })
}

/// How to connect to the one host of this URL.
fn connection(url: &Url, login: &Login) -> Result<ConnectionInfo, ConnectError> {
    let resp2 = option(url, "protocol").is_some_and(|protocol| matches!(&*protocol, "2" | "resp2"));
    let has_database = !url.path().trim_matches('/').is_empty() && url.has_host() || option(url, "db").is_some();
    let info = url
        .clone()
        .into_connection_info()
        // The error's detail may be a piece of a password with an unescaped `/`: it stays out.
        .map_err(|_| ConnectError::InvalidUrl("host, database number or protocol cannot be read"))?;
    let protocol = if resp2 { ProtocolVersion::RESP2 } else { ProtocolVersion::RESP3 };
    let mut settings =
        info.redis_settings().clone().set_protocol(protocol).set_lib_name("staleproof", env!("CARGO_PKG_VERSION"));
    if settings.db() < 0 {
        return Err(ConnectError::InvalidUrl("the database number is negative"));
    }
    if let Some(database) = login.database.filter(|_| !has_database) {
        settings = settings.set_db(database.into());
    }
    if settings.username().is_none() && settings.password().is_none() {
        settings = with_credentials(settings, login.server.as_ref());
    }
    let addr = match info.addr().clone() {
        ConnectionAddr::Tcp(host, port) if login.tls => {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
        addr => addr,
    };
    Ok(info.set_addr(addr).set_redis_settings(settings))
}

/// Sentinels have users of their own, and no databases.
fn sentinel_settings(url: &Url, server: &ConnectionInfo, login: &Login) -> RedisConnectionInfo {
    let settings = RedisConnectionInfo::default()
        .set_protocol(server.redis_settings().protocol())
        .set_lib_name("staleproof", env!("CARGO_PKG_VERSION"));
    let (user, password) = (option(url, "sentinel_user"), option(url, "sentinel_pass"));
    if user.is_none() && password.is_none() {
        return with_credentials(settings, login.sentinel.as_ref());
    }
    let credentials = Credentials { user: user.unwrap_or_default(), password: password.unwrap_or_default() };
    with_credentials(settings, Some(&credentials))
}

fn with_credentials(settings: RedisConnectionInfo, credentials: Option<&Credentials>) -> RedisConnectionInfo {
    let Some(Credentials { user, password }) = credentials else { return settings };
    let settings = settings.set_password(password);
    if user.is_empty() { settings } else { settings.set_username(user) }
}

fn on_failover(url: &Url) -> Result<Option<OnFailover>, ConnectError> {
    match option(url, "on_failover").as_deref() {
        None => Ok(None),
        Some("fence") => Ok(Some(OnFailover::Fence)),
        Some("trust") => Ok(Some(OnFailover::Trust)),
        Some(_) => Err(ConnectError::InvalidUrl("on_failover is either fence or trust")),
    }
}

fn option(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(option, _)| option == name).map(|(_, value)| value.into_owned())
}

fn check_tls(is_tls: bool) -> Result<(), ConnectError> {
    if is_tls && cfg!(not(feature = "tls")) {
        return Err(ConnectError::Unsupported("TLS (rediss://) needs the feature `tls`"));
    }
    Ok(())
}

fn check_options(url: &Url, valid: &'static str) -> Result<(), ConnectError> {
    if url.fragment().is_some() {
        return Err(ConnectError::InvalidUrl("it has a fragment (`#`); in a password write it as `%23`"));
    }
    // An `@` behind the `?` means that both belong to a password, and what follows a password may belong to it.
    let mut may_tell = !url.query().unwrap_or_default().contains('@');
    for (name, _) in url.query_pairs() {
        if !valid.split(", ").any(|option| option == name) {
            return Err(ConnectError::UnknownOption { option: may_tell.then(|| name.into_owned()), valid });
        }
        may_tell &= !name.ends_with("pass");
    }
    Ok(())
}

/// A host of the builder, which must not bring other parts of a URL with it.
fn plain_host(host: &str) -> Result<&str, ConnectError> {
    if host.contains(|c: char| matches!(c, '@' | '/' | '?' | '#' | ',') || c.is_whitespace()) {
        return Err(ConnectError::InvalidUrl("a node is `host` or `host:port`, and nothing more"));
    }
    Ok(host)
}

fn with_port(mut url: Url, port: u16) -> Result<Url, ConnectError> {
    if url.port().is_none() {
        url.set_port(Some(port)).map_err(|()| ConnectError::InvalidUrl("the host is missing"))?;
    }
    Ok(url)
}

fn parse(url: &str) -> Result<Url, ConnectError> {
    Url::parse(url).map_err(|error| ConnectError::InvalidUrl(describe(error)))
}

fn describe(error: url::ParseError) -> &'static str {
    match error {
        url::ParseError::RelativeUrlWithoutBase => SCHEMES,
        url::ParseError::EmptyHost => "the host is missing, or an IPv6 address without brackets",
        url::ParseError::InvalidPort => ENCODE,
        url::ParseError::InvalidIpv6Address => "the IPv6 address in brackets cannot be read",
        _ => "it cannot be read",
    }
}
