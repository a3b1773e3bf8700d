//! Building a cache that is told how to come by its server.

use super::CacheBuilder;
use crate::{
    cache::Cache,
    connect::{StartSpec, starter},
    error::BuildError,
    start::{LocalServer, Start},
};

impl CacheBuilder {
    /// How the cache comes by its server, unless `STALEPROOF_MODE` says otherwise: `auto`, `external` or `memory`. Without this (and
    /// without [`from_env`](CacheBuilder::from_env)) that variable is not asked, and the cache is what its other settings say.
    ///
    /// The URL is the one of [`redis`](CacheBuilder::redis), else that in `STALEPROOF_URL`, else that in `REDIS_URL`.
    ///
    /// | mode | the cache is over |
    /// |---|---|
    /// | [`Start::Auto`] | the server at the URL, if there is a URL and it answers now; else the [local server](CacheBuilder::local_server); else, where no server is installed, memory |
    /// | [`Start::External`] | the server at the URL; degraded for as long as that does not answer |
    /// | [`Start::Memory`] | this process's memory, whatever the URL; the [journal file](CacheBuilder::journal_file) is left alone |
    ///
    /// `Auto` needs the feature `autostart`. With it each instance decides for itself when it starts: those that share entries must
    /// run on one machine, as one user. The journal file is for the server at the URL, and not used with a local one: what that
    /// had is void once it was started anew.
    ///
    /// # Errors
    ///
    /// Of [`connect`](CacheBuilder::connect): a `STALEPROOF_MODE` that does not exist, [`BuildError::Mode`]; `external` without a URL;
    /// `auto` without the feature, or with a URL whose server answers with a refusal, such as that of a password; a directory for the
    /// local server that cannot be used; with [`require_redis`](CacheBuilder::require_redis) also when there is no server.
    pub fn start(mut self, mode: Start) -> Self {
        self.start = Some(mode);
        self.asks_environment = true;
        self
    }

    /// Settings of the server that [`Start::Auto`] starts.
    pub fn local_server(mut self, server: LocalServer) -> Self {
        self.local_server = server;
        self
    }

    /// How to start, if that was said.
    pub(super) fn mode(&self) -> Result<Option<Start>, BuildError> {
        if !self.asks_environment {
            return Ok(None);
        }
        let said = std::env::var_os("STALEPROOF_MODE").filter(|mode| !mode.is_empty());
        let mode = match said {
            Some(mode) => Some(mode.to_string_lossy().parse()?),
            None => self.start,
        };
        if mode.is_some() && self.store.is_some() {
            return Err(BuildError::Setting(
                "a store of your own is not started: leave out either `store` or the mode",
            ));
        }
        Ok(mode)
    }

    pub(super) async fn start_as(mut self, mode: Start) -> Result<Cache, BuildError> {
        if mode != Start::Memory && self.url.is_none() {
            self.url = url_of_environment();
        }
        match mode {
            Start::Memory => self.in_memory(),
            Start::External if self.url.is_none() => {
                Err(BuildError::Setting("the mode `external` needs a URL: `redis(…)`, STALEPROOF_URL or REDIS_URL"))
            }
            Start::External => self.open().await,
            Start::Auto => self.find_or_start().await,
        }
    }

    pub(super) fn in_memory(mut self) -> Result<Cache, BuildError> {
        if self.require {
            return Err(BuildError::Setting("Redis is required, but the mode is `memory`"));
        }
        (self.url, self.journal_file) = (None, None);
        self.build_in_process()
    }

    async fn find_or_start(self) -> Result<Cache, BuildError> {
        let Some(starter) = starter() else {
            return Err(BuildError::Setting("the mode `auto` needs the feature `autostart`"));
        };
        let spec = StartSpec { configured: self.spec(), server: self.local_server.clone() };
        match (starter.start)(spec).await? {
            Some(found) => Ok(self.over(found)),
            None if self.require => {
                Err(BuildError::Setting("Redis is required, but none answers and none can be started"))
            }
            None => self.in_memory(),
        }
    }
}

/// The URL in the environment. Logs which.
pub(super) fn url_of_environment() -> Option<String> {
    ["STALEPROOF_URL", "REDIS_URL"].into_iter().find_map(|name| {
        let url = std::env::var(name).ok().filter(|url| !url.is_empty())?;
        tracing::info!("the cache's store is the one in {name}");
        Some(url)
    })
}

// Without STALEPROOF_MODE in the environment; the tests of the facade set it, in processes of their own.
#[cfg(test)]
mod tests {
    use std::{future::Future as _, pin::pin, sync::Arc, task::Poll};

    use super::*;
    use crate::{Health, MemoryStore};

    /// Where nothing has to be waited for.
    fn connected(builder: CacheBuilder) -> Result<Cache, String> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match pin!(builder.connect()).poll(&mut context) {
            Poll::Ready(result) => result.map_err(|error| error.to_string()),
            Poll::Pending => panic!("there is nothing to wait for"),
        }
    }

    fn refused(builder: CacheBuilder) -> String {
        connected(builder).expect_err("it is refused")
    }

    #[test]
    fn memory_leaves_url_and_journal_alone() {
        let builder =
            || Cache::builder().redis("redis://127.0.0.1:1").journal_file("/nowhere/journal").start(Start::Memory);
        assert_eq!(connected(builder()).expect("it needs nothing").health(), Health::Memory);
        assert_eq!(builder().build().expect("it needs nothing").health(), Health::Memory);
        assert!(refused(builder().require_redis()).contains("the mode is `memory`"));
    }

    #[test]
    fn auto_needs_something_that_starts_servers() {
        assert!(refused(Cache::builder().start(Start::Auto)).contains("the feature `autostart`"));
    }

    #[test]
    fn other_modes_are_for_connect() {
        for mode in [Start::Auto, Start::External] {
            let error = Cache::builder().start(mode).build().expect_err("it is refused").to_string();
            assert!(error.contains("connect().await"), "{error}");
        }
    }

    #[test]
    fn a_store_of_ones_own_is_not_started() {
        let store = Arc::new(MemoryStore::new(1 << 20));
        assert!(refused(Cache::builder().store(store).start(Start::Auto)).contains("a store of your own"));
    }
}
