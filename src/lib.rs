//! staleproof

pub use cache_core::{Cache, Key, KeyPart, Outcome, Policy, Tag, Target, registry};
pub use cache_macros::{KeyPart, cached, cached_impl, invalidates, keys};

/// What generated code names. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use cache_core::call::*;
}
