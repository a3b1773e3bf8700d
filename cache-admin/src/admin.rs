//! The settings, and what is made of them.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use axum::{Router, http::request::Parts};
use cache_core::Cache;

use crate::{
    access::{Authorizer, Verdict},
    routes,
    secret::Secret,
    state::{Settings, Shared},
};

/// Of the sampler, unless [`Admin::sample_every`] says otherwise.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// The admin page of a cache, before it is built.
///
/// ```
/// use axum::{Router, http::request::Parts};
/// use cache_admin::Admin;
/// use cache_core::Cache;
///
/// /// What a login in front of the service has put there.
/// #[derive(Clone)]
/// struct Operator { may_write: bool }
///
/// let operator = |parts: &Parts| parts.extensions.get::<Operator>().cloned();
/// let admin = Admin::new(Cache::memory())
///     .authorize_reads(move |parts: &Parts| operator(parts).is_some())
///     .authorize_writes(move |parts: &Parts| operator(parts).is_some_and(|operator| operator.may_write))
///     .build()?;
/// let app: Router = Router::new().nest("/admin/cache", admin);
/// # Ok::<(), cache_admin::BuildError>(())
/// ```
#[must_use = "it is built by `build`"]
pub struct Admin {
    cache: Cache,
    reads: Option<Authorizer>,
    writes: Writes,
    settings: Settings,
}

/// Who may write.
#[derive(Clone)]
pub(crate) enum Writes {
    Unsaid,
    Nobody,
    By(Authorizer),
}

/// Why there is no router.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nobody said who may see the page.
    #[error("the admin page has no authorisation: say who may see it, by `authorize_reads`")]
    NoReads,
    /// Nobody said who may invalidate.
    #[error(
        "nobody said who may invalidate by the admin page: say it by `authorize_writes`, or that nobody may by `read_only`"
    )]
    NoWrites,
    /// The system has no random numbers for the secret of the forms.
    #[error("no random numbers for the forms' secret: {0}")]
    Random(String),
}

impl Admin {
    /// The page of this cache.
    pub fn new(cache: Cache) -> Self {
        let settings = Settings { title: "staleproof".to_owned(), hide_values: false, sample_every: SAMPLE_EVERY };
        Self { cache, reads: None, writes: Writes::Unsaid, settings }
    }

    /// Who may see anything at all: asked before every answer, be it a page, JSON, a stylesheet or an error.
    ///
    /// It is given the request without its body, with the extensions that layers around the router have put there, and answers a
    /// [`Verdict`]: a `bool`, or a `Result` whose error is the response.
    pub fn authorize_reads<V: Verdict>(mut self, authorize: impl Fn(&Parts) -> V + Send + Sync + 'static) -> Self {
        self.reads = Some(Authorizer::new(authorize));
        self
    }

    /// [`Admin::authorize_reads`] by a future. It is given the request's head as its own.
    pub fn authorize_reads_async<V, F>(mut self, authorize: impl Fn(Parts) -> F + Send + Sync + 'static) -> Self
    where
        V: Verdict,
        F: Future<Output = V> + Send + 'static,
    {
        self.reads = Some(Authorizer::asynchronous(authorize));
        self
    }

    /// Who may invalidate, in addition to being allowed to read. Asked when something is to be invalidated.
    pub fn authorize_writes<V: Verdict>(mut self, authorize: impl Fn(&Parts) -> V + Send + Sync + 'static) -> Self {
        self.writes = Writes::By(Authorizer::new(authorize));
        self
    }

    /// [`Admin::authorize_writes`] by a future. It is given the request's head as its own.
    pub fn authorize_writes_async<V, F>(mut self, authorize: impl Fn(Parts) -> F + Send + Sync + 'static) -> Self
    where
        V: Verdict,
        F: Future<Output = V> + Send + 'static,
    {
        self.writes = Writes::By(Authorizer::asynchronous(authorize));
        self
    }

    /// Nobody may invalidate: there are no forms for it, and requests for it are refused.
    pub fn read_only(mut self) -> Self {
        self.writes = Writes::Nobody;
        self
    }

    /// Shows no values, neither on the page nor as JSON. Keys are shown, and what is in them.
    pub fn hide_values(mut self) -> Self {
        self.settings.hide_values = true;
        self
    }

    /// Stands at the top of each page: which service this is. `staleproof` unless said otherwise.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.settings.title = title.into();
        self
    }

    /// How far apart the points of the charts are: 2 s unless said otherwise, 100 ms at least. The last 450 points are kept, 15 minutes
    /// of them.
    pub fn sample_every(mut self, interval: Duration) -> Self {
        self.settings.sample_every = interval.max(Duration::from_millis(100));
        self
    }

    /// The router: to be [nested](Router::nest) anywhere, or served by itself. A router with a state takes it after
    /// [`with_state`](Router::with_state).
    ///
    /// A task that takes the samples begins now, or with the first request where this is called outside of a Tokio runtime. It ends
    /// with the router.
    ///
    /// # Errors
    ///
    /// If it has not been said who may read, and who may write.
    pub fn build(self) -> Result<Router, BuildError> {
        let reads = self.reads.ok_or(BuildError::NoReads)?;
        if matches!(self.writes, Writes::Unsaid) {
            return Err(BuildError::NoWrites);
        }
        let secret = Secret::random().map_err(|error| BuildError::Random(error.to_string()))?;
        let shared = Arc::new(Shared::new(self.cache, self.writes, secret, self.settings));
        shared.keep_sampling();
        Ok(routes::router(shared, reads))
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("cache", &self.cache).field("settings", &self.settings).finish_non_exhaustive()
    }
}
