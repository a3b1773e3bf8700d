//! Compression of payloads, bounded on the way back by the length in the header.

use std::borrow::Cow;

use super::DecodeError;

/// How large payloads are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// zstd, at level 1: about half the size of LZ4's, at a few times its cost.
    #[cfg(feature = "zstd")]
    Zstd,
    /// LZ4: cheap to write, cheaper to read.
    #[cfg(feature = "lz4")]
    Lz4,
}

impl Compression {
    #[cfg(feature = "zstd")]
    const ZSTD: u8 = 1;
    #[cfg(feature = "lz4")]
    const LZ4: u8 = 2;

    pub(super) const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            #[cfg(feature = "zstd")]
            Self::Zstd => Self::ZSTD,
            #[cfg(feature = "lz4")]
            Self::Lz4 => Self::LZ4,
        }
    }

    /// Compresses; `None` if that fails or is not compiled in, which leaves the payload as it is.
    pub(super) fn compress(self, raw: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::None => {
                let _ = raw;
                None
            }
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::bulk::compress(raw, 1).ok(),
            #[cfg(feature = "lz4")]
            Self::Lz4 => Some(lz4_flex::block::compress(raw)),
        }
    }

    /// The best that is compiled in.
    #[allow(unreachable_code, reason = "the first of the compiled ones wins")]
    pub(super) const fn best() -> Self {
        #[cfg(feature = "zstd")]
        return Self::Zstd;
        #[cfg(feature = "lz4")]
        return Self::Lz4;
        Self::None
    }
}

/// The payload as it was before compression `id`; it has to be `raw_len` bytes long.
pub(super) fn decompress(id: u8, payload: &[u8], raw_len: usize) -> Result<Cow<'_, [u8]>, DecodeError> {
    if id == 0 {
        return Ok(Cow::Borrowed(payload));
    }
    let raw = expand(id, payload, raw_len)?;
    if raw.len() == raw_len { Ok(Cow::Owned(raw)) } else { Err(DecodeError::Length) }
}

/// At most `raw_len` bytes.
#[cfg_attr(
    not(any(feature = "zstd", feature = "lz4")),
    allow(unused_variables, clippy::missing_const_for_fn, reason = "no compression is compiled in")
)]
fn expand(id: u8, payload: &[u8], raw_len: usize) -> Result<Vec<u8>, DecodeError> {
    match id {
        #[cfg(feature = "zstd")]
        Compression::ZSTD => zstd::bulk::decompress(payload, raw_len).map_err(|_| DecodeError::Compression),
        // LZ4 cannot shrink more than that, so a longer length is a lie not worth an allocation.
        #[cfg(feature = "lz4")]
        Compression::LZ4 if raw_len / 256 > payload.len() => Err(DecodeError::Length),
        #[cfg(feature = "lz4")]
        Compression::LZ4 => lz4_flex::block::decompress(payload, raw_len).map_err(|_| DecodeError::Compression),
        _ => Err(DecodeError::UnknownCompression(id)),
    }
}
