//! Why a value could not become bytes, or bytes a value.

/// Why a value was not encoded. The caller of a cached method still gets the value; it is only not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// No codec of this kind is compiled in.
    #[error("no feature of cache-core provides the codec")]
    NoCodec,
    /// The codec or the value's own `Serialize` failed.
    #[error("cannot be encoded: {0}")]
    Codec(String),
    /// What was encoded would be read back as something else, or not at all.
    #[error("would not be read back as it was")]
    DoesNotRoundTrip,
    /// Nested too deeply to be read back within a bounded stack.
    #[error("nested too deeply")]
    TooDeep,
    /// Larger than the decode limit.
    #[error("{0} bytes are over the decode limit")]
    TooLarge(usize),
    /// The value's own `Serialize` or `Deserialize` panicked.
    #[error("the type's own code panicked")]
    Panicked,
}

/// Why bytes are not a value: a miss, and one to count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Shorter than a header.
    #[error("too short for a header")]
    TooShort,
    /// Not an entry of this version of the layout; perhaps no entry at all.
    #[error("format {0:#04x} is unknown")]
    Format(u8),
    /// The header contradicts itself.
    #[error("the header is malformed")]
    Header,
    /// Written with a codec that is not compiled in.
    #[error("codec {0} is unknown")]
    UnknownCodec(u8),
    /// Written with a compression that is not compiled in.
    #[error("compression {0} is unknown")]
    UnknownCompression(u8),
    /// The type had another structure, or another version, when this was written.
    #[error("written by another version of the type")]
    Schema,
    /// Damaged.
    #[error("the checksum does not fit")]
    Checksum,
    /// The payload is not as long as the header says.
    #[error("the length does not fit")]
    Length,
    /// Larger, or nested deeper, than the limits on decoding allow.
    #[error("over the decode limit")]
    Limit,
    /// The compressed payload is damaged.
    #[error("cannot be decompressed")]
    Compression,
    /// The codec or the type's own `Deserialize` refused the payload.
    #[error("cannot be decoded: {0}")]
    Codec(String),
    /// The type's own `Deserialize` panicked.
    #[error("the type's own code panicked")]
    Panicked,
}
