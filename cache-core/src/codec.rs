//! Values as bytes: which format, how compressed, and what makes a stored value readable again.
//!
//! [`Values`] encodes what a loader returned and decodes what a store hands over. Any `Serialize + DeserializeOwned` type
//! works as it is; [`Auto`] takes postcard where a value survives it and `MessagePack` with names where it would not
//! (`skip_serializing_if`, `flatten`, untagged and internally tagged enums, `serde_json::Value`).
//!
//! Invariants:
//!
//! - What is decoded equals what was encoded, as far as its `Serialize` shows; else it is an error. A value that a format
//!   would lose or misread is an [`EncodeError`], found before it is stored.
//! - Bytes of another structure of the type, another version, a damaged or foreign entry are a [`DecodeError`]; never a
//!   panic, an abort, a wrong value, or more memory than the decode limit.

mod compress;
mod error;
mod format;
mod guard;
mod values;

pub use compress::Compression;
pub use error::{DecodeError, EncodeError};
pub(crate) use format::Format;
#[cfg(feature = "json")]
pub(crate) use values::readable;
pub use values::{Meta, Values};

use sealed::Sealed;

mod sealed {
    /// Which codec a builder was given.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Choice {
        /// One format or the other, by value.
        Auto,
        /// This one.
        Only(super::Format),
    }

    pub trait Sealed {
        const CHOICE: Choice;
    }
}

pub(crate) use sealed::Choice;

/// A way to turn values into bytes: [`Auto`], `Postcard`, `MessagePack`, `Json` or `Bincode`, each a feature.
///
/// The codec is part of every entry, so instances with different ones read each other's entries.
pub trait Codec: Sealed {}

macro_rules! codecs {
    ($($(#[$attr:meta])* $name:ident = $choice:expr;)*) => {$(
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        $(#[$attr])*
        impl Sealed for $name {
            const CHOICE: Choice = $choice;
        }

        $(#[$attr])*
        impl Codec for $name {}
    )*};
}

codecs! {
    /// postcard where the value survives it, `MessagePack` with names where it would not. The default.
    #[cfg(feature = "auto")]
    Auto = Choice::Auto;
    /// postcard: small and fast. A value that it cannot carry is not stored.
    #[cfg(feature = "postcard")]
    Postcard = Choice::Only(Format::Postcard);
    /// `MessagePack` with the names of fields and variants.
    #[cfg(feature = "message-pack")]
    MessagePack = Choice::Only(Format::MessagePack);
    /// JSON: readable in the store. A value that it cannot carry (a float that is no number, a map whose keys are no text) is not stored.
    #[cfg(feature = "json")]
    Json = Choice::Only(Format::Json);
    /// bincode 2. A value that it cannot carry is not stored.
    #[cfg(feature = "bincode")]
    Bincode = Choice::Only(Format::Bincode);
}

impl Choice {
    /// The best that is compiled in.
    pub(crate) const BEST: Self = if cfg!(feature = "auto") {
        Self::Auto
    } else if cfg!(feature = "postcard") {
        Self::Only(Format::Postcard)
    } else if cfg!(feature = "message-pack") {
        Self::Only(Format::MessagePack)
    } else if cfg!(feature = "bincode") {
        Self::Only(Format::Bincode)
    } else {
        Self::Only(Format::Json)
    };
}
