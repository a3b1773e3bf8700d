//! From a URL to a store: backends announce which schemes they serve.
//!
//! The core names no backend. A backend crate submits a [`Connector`] to the `inventory` registry, and being linked into the program is
//! enough to be found. So does the crate that starts servers, a [`Starter`].

use std::{any::Any, error::Error, fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use crate::{error::BuildError, start::LocalServer, store::Store};

/// What a connector is given.
#[derive(Clone)]
#[non_exhaustive]
pub struct ConnectSpec {
    /// Where the store is. May hold a password: never print it.
    pub url: String,
    /// Goes in front of every key.
    pub namespace: String,
    /// The bound on each call, or the store's own default.
    pub call_timeout: Option<Duration>,
    /// A store that cannot be reached is an error rather than a start in degraded mode.
    pub require: bool,
    /// Where invalidations are kept, too, that the store has not acknowledged.
    pub journal_file: Option<PathBuf>,
}

/// What a connector answers.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Arc<dyn Store>, Box<dyn Error + Send + Sync>>> + Send>>;

/// A backend, and the URL schemes that lead to it.
#[derive(Debug)]
pub struct Connector {
    /// Schemes without `://`, in lower case.
    pub schemes: &'static [&'static str],
    /// Opens the store.
    pub connect: fn(ConnectSpec) -> Connecting,
}

#[doc(hidden)]
pub use inventory;

inventory::collect!(Connector);

/// Opens the store that the URL leads to.
///
/// # Errors
///
/// No URL, a scheme that no [`Connector`] serves, or what the connector answers.
pub async fn open(spec: ConnectSpec) -> Result<Arc<dyn Store>, BuildError> {
    let Some(connector) = connector(&spec.url) else {
        // Without `://` the text before a colon may be anything, a password too.
        let Some((scheme, _)) = spec.url.split_once("://").filter(|(scheme, _)| !scheme.contains([':', '@'])) else {
            return Err(BuildError::Setting("not a URL of a store: expected one such as `redis://127.0.0.1/0`"));
        };
        return Err(BuildError::UnknownScheme { scheme: scheme.to_owned() });
    };
    (connector.connect)(spec).await.map_err(BuildError::Store)
}

/// What a starter is given.
#[derive(Clone)]
#[non_exhaustive]
pub struct StartSpec {
    /// The store to look for first; its URL is empty where none is configured.
    pub configured: ConnectSpec,
    /// What to start if there is none.
    pub server: LocalServer,
}

/// A store that was found or started.
#[non_exhaustive]
pub struct Started {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Lives for as long as the cache does.
    pub guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Started {
    /// This store.
    pub fn new(store: Arc<dyn Store>, guard: Option<Box<dyn Any + Send + Sync>>) -> Self {
        Self { store, guard }
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("is_guarded", &self.guard.is_some()).finish_non_exhaustive()
    }
}

/// What a starter answers: `None` if it can neither find nor start a store, and none is required.
pub type Starting = Pin<Box<dyn Future<Output = Result<Option<Started>, BuildError>> + Send>>;

/// Finds or starts a store, for [`Start::Auto`](crate::Start::Auto).
#[derive(Debug)]
pub struct Starter {
    /// Does so.
    pub start: fn(StartSpec) -> Starting,
}

inventory::collect!(Starter);

pub(crate) fn starter() -> Option<&'static Starter> {
    inventory::iter::<Starter>().next()
}

fn connector(url: &str) -> Option<&'static Connector> {
    let scheme = url.split_once("://")?.0.to_ascii_lowercase();
    inventory::iter::<Connector>().find(|connector| connector.schemes.contains(&scheme.as_str()))
}
