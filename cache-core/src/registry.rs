//! r
/// c
#[derive(Debug, thiserror::Error)]
#[error("clash")]
pub struct PrefixClash;
pub(crate) fn check() -> Result<(), PrefixClash> { Ok(()) }
