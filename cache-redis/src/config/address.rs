//! What a store connects to: the servers, each with the same TCP and TLS settings.

use std::{fmt, sync::Arc, time::Duration};

use redis::{ConnectionAddr, ConnectionInfo, io::tcp::TcpSettings};

use super::{OnFailover, RedisConfig, url::Location};
use crate::{error::ConnectError, traffic::Counts};

/// Where the servers are. What it holds is ready to be connected to.
#[derive(Clone, Debug)]
pub(crate) enum Topology {
    /// One server.
    Single(ConnectionInfo),
    /// The primary that sentinels know under a name.
    Sentinel {
        service: String,
        sentinels: Vec<ConnectionInfo>,
        /// What each server is connected to with; the address in it is not a server's.
        server: ConnectionInfo,
    },
    /// Some of the nodes of a cluster.
    Cluster { seeds: Vec<ConnectionInfo> },
}

/// A URL that was read.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) topology: Topology,
    /// Hosts and ports, or the socket: what may be logged.
    pub(crate) at: String,
    pub(crate) database: i64,
    pub(crate) is_resp3: bool,
    pub(crate) on_failover: OnFailover,
    /// Counts what is sent to the servers.
    pub(crate) counts: Arc<Counts>,
    #[cfg(feature = "__wire")]
    pub(crate) wire: Option<crate::wire::Wire>,
}

impl Address {
    /// Whether a test is the network.
    #[cfg(feature = "__wire")]
    pub(crate) fn is_by_hand(&self) -> bool {
        self.wire.is_some()
    }

    #[cfg(not(feature = "__wire"))]
    #[allow(clippy::unused_self, reason = "it would know")]
    pub(crate) fn is_by_hand(&self) -> bool {
        false
    }
}

impl Topology {
    /// What its servers are connected to with.
    pub(crate) fn server(&self) -> Option<&ConnectionInfo> {
        match self {
            Self::Single(server) | Self::Sentinel { server, .. } => Some(server),
            Self::Cluster { seeds } => seeds.first(),
        }
    }

    fn try_map(
        self,
        prepare: impl Fn(ConnectionInfo) -> Result<ConnectionInfo, ConnectError>,
    ) -> Result<Self, ConnectError> {
        let all = |infos: Vec<_>| infos.into_iter().map(&prepare).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Self::Single(server) => Self::Single(prepare(server)?),
            Self::Sentinel { service, sentinels, server } => {
                Self::Sentinel { service, sentinels: all(sentinels)?, server: prepare(server)? }
            }
            Self::Cluster { seeds } => Self::Cluster { seeds: all(seeds)? },
        })
    }
}

/// What may be shown: no user and no password.
impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |infos: &[ConnectionInfo]| infos.iter().map(place).collect::<Vec<_>>().join(",");
        match self {
            Self::Single(server) => f.write_str(&place(server)),
            Self::Sentinel { service, sentinels, .. } => write!(f, "{}/{service}", list(sentinels)),
            Self::Cluster { seeds } => f.write_str(&list(seeds)),
        }
    }
}

/// Host and port, or the socket.
pub(crate) fn place(info: &ConnectionInfo) -> String {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } if host.contains(':') => {
            format!("[{host}]:{port}")
        }
        addr => addr.to_string(),
    }
}

/// The same way of connecting, to another host.
pub(crate) fn elsewhere(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let addr = match info.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(addr)
}

pub(crate) fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

impl RedisConfig {
    /// Reads the URL.
    pub(crate) fn address(&self) -> Result<Address, ConnectError> {
        let Location { topology, on_failover } = self.place.read(&self.login)?;
        let topology = topology.try_map(|info| self.with_tls(with_tcp_settings(info)))?;
        let Some(settings) = topology.server().map(ConnectionInfo::redis_settings) else {
            return Err(ConnectError::InvalidUrl("it names no server"));
        };
        let (database, is_resp3) = (settings.db(), settings.protocol().supports_resp3());
        Ok(Address {
            at: topology.to_string(),
            database,
            is_resp3,
            topology,
            on_failover: on_failover.unwrap_or(self.on_failover),
            counts: Arc::default(),
            #[cfg(feature = "__wire")]
            wire: self.wire.clone(),
        })
    }

    #[cfg(feature = "tls")]
    fn with_tls(&self, info: ConnectionInfo) -> Result<ConnectionInfo, ConnectError> {
        if !is_tls(&info) {
            return Ok(info);
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
        let at = place(&info);
        match redis::Client::build_with_tls(info, certificates) {
            Ok(client) => Ok(client.get_connection_info().clone()),
            Err(source) => Err(ConnectError::Tls { at, source: Box::new(source) }),
        }
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "there are settings in self with TLS, and errors")]
    fn with_tls(&self, info: ConnectionInfo) -> Result<ConnectionInfo, ConnectError> {
        Ok(info)
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
