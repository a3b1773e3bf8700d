//! How a cache comes by its server: [`Start`], and the settings of a server that is started for it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// How a cache comes by its server.
///
/// Set by [`CacheBuilder::start`](crate::CacheBuilder::start); `STALEPROOF_MODE` (`auto`, `external` or `memory`) overrules it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The server at the URL, if it answers when the cache is built, else one of its own on this machine (feature `autostart`), else
    /// this process's memory. For development, and for services that run on one machine.
    Auto,
    /// The server at the URL. Nothing is ever started.
    External,
    /// This process's memory. Nothing is ever connected to.
    Memory,
}

impl Start {
    const ALL: [Self; 3] = [Self::Auto, Self::External, Self::Memory];

    /// As it is written in `STALEPROOF_MODE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::External => "external",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such [`Start`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no way to start: expected `auto`, `external` or `memory`")]
pub struct UnknownStart {
    /// What was given.
    pub given: String,
}

impl FromStr for Start {
    type Err = UnknownStart;

    fn from_str(name: &str) -> Result<Self, UnknownStart> {
        let found = Self::ALL.into_iter().find(|start| start.name() == name);
        found.ok_or_else(|| UnknownStart { given: name.to_owned() })
    }
}

/// The server that [`Start::Auto`] starts on this machine.
///
/// It listens on a Unix socket only, in a directory of its own, and keeps nothing on the disk but its log (`server.log` there, 1 MiB at
/// most from one start to the next). To the cache data would be of no use after a restart: entries of a server that was started anew count as
/// invalidated. [`LocalServer::persist`] is for other data of the service.
///
/// Building the cache waits up to 10 seconds until the server answers; after that the cache starts degraded, or with
/// [`require_redis`](crate::CacheBuilder::require_redis) fails. A server that ends is started again, after a pause of 0.1 seconds that
/// doubles each time, up to 10 seconds, less up to half of it at random. One that is silent for 10 seconds is ended first.
///
/// Dropping the cache of the instance that owns it stops it, and blocks for that: a few milliseconds as a rule, 3 seconds for one that
/// hangs. Where the process ends without a drop, or is killed, the kernel stops it (Linux with `setpriv` of util-linux), or else the
/// next start in the same directory. Other instances look twice a second whether they have to take over.
///
/// ```
/// use cache_core::start::LocalServer;
///
/// let server = LocalServer::new().max_memory(64 << 20).directory("/run/user/1000/orders");
/// # drop(server);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalServer {
    directory: Option<PathBuf>,
    max_memory: u64,
    is_persistent: bool,
    restarts: u32,
    within: Duration,
}

impl Default for LocalServer {
    fn default() -> Self {
        Self {
            directory: None,
            max_memory: 256 << 20,
            is_persistent: false,
            restarts: 10,
            within: Duration::from_secs(60),
        }
    }
}

impl LocalServer {
    /// With 256 MiB, in a directory of this user, started again at most 10 times a minute.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where its socket, its log and the lock are: a directory that only this user may enter, made where there is none. Instances
    /// with the same directory share one server. By default `$XDG_RUNTIME_DIR/staleproof`, or `staleproof-<user id>` among the
    /// temporary files. With the name of the socket it must not be longer than 100 bytes.
    #[must_use]
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// The most that it holds, in bytes; what was used least recently is evicted beyond that. 256 MiB by default; Redis itself needs a
    /// few MB of it.
    #[must_use]
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.max_memory = bytes;
        self
    }

    /// Keeps an append-only file in the directory, so that what else the service has in this server (sessions, drafts) is there after a
    /// restart, that of the machine included if the [directory](LocalServer::directory) is on a disk. A crash of the machine may lose the last second. Off by
    /// default. What has the least recent use is still evicted at the limit.
    #[must_use]
    pub fn persist(mut self, persist: bool) -> Self {
        self.is_persistent = persist;
        self
    }

    /// How many times it is started again within this time, when it ends or hangs. After that it is left alone until the time is
    /// over, with an error in the log. By default 10 times a minute.
    #[must_use]
    pub fn restarts(mut self, times: u32, within: Duration) -> Self {
        self.restarts = times;
        self.within = within;
        self
    }

    /// The directory, unless it is the default one.
    pub fn directory_path(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The most that it holds, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.max_memory
    }

    /// Whether it keeps an append-only file.
    pub fn is_persistent(&self) -> bool {
        self.is_persistent
    }

    /// How many times it is started again, and within which time.
    pub fn restart_bounds(&self) -> (u32, Duration) {
        (self.restarts, self.within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for start in Start::ALL {
            assert_eq!(start.to_string().parse(), Ok(start));
        }
    }

    #[test]
    fn an_unknown_name_is_told_with_the_valid_ones() {
        let error = "Auto".parse::<Start>().expect_err("there is no such name").to_string();
        assert!(["\"Auto\"", "`auto`", "`external`", "`memory`"].iter().all(|part| error.contains(part)), "{error}");
    }
}
