//! Errors of building a cache. Cached methods have none of their own.

use std::error::Error;

/// Why a cache could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two functions would share their entries.
    #[error(transparent)]
    PrefixClash(#[from] crate::registry::PrefixClash),
    /// The URL names a kind of store that is not linked into this program.
    #[error("no store serves the scheme `{scheme}`: expected a URL such as `redis://127.0.0.1/0` (feature `redis`)")]
    UnknownScheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// A namespace that would not be readable or not be unique.
    #[error("the namespace {namespace:?} is not usable: 1 to 64 characters of A-Z, a-z, 0-9, `_`, `.` and `-`")]
    Namespace {
        /// As it was given.
        namespace: String,
    },
    /// `STALEPROOF_MODE` says something that it cannot.
    #[error("STALEPROOF_MODE: {0}")]
    Mode(#[from] crate::start::UnknownStart),
    /// A setting that contradicts another, or is out of its range.
    #[error("{0}")]
    Setting(&'static str),
    /// The store refused: a malformed URL, an unknown option, a wrong password, or, where it is required, out of reach.
    #[error("cannot open the store: {0}")]
    Store(#[source] Box<dyn Error + Send + Sync>),
}
