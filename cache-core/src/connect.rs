//! From a URL to a store: backends announce which schemes they serve.
//!
//! The core names no backend. A backend crate submits a [`Connector`] to the `inventory` registry, and being linked into the program is
//! enough to be found.

use std::{error::Error, future::Future, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use crate::store::Store;

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

pub(crate) fn connector(url: &str) -> Option<&'static Connector> {
    let scheme = url.split_once("://")?.0.to_ascii_lowercase();
    inventory::iter::<Connector>().find(|connector| connector.schemes.contains(&scheme.as_str()))
}
