//! The formats: bytes of a value without header, guard and checks in place.

use serde::{Serialize, de::DeserializeOwned, de::DeserializeSeed};

use super::{
    DecodeError, EncodeError,
    guard::{Budget, Guard},
};

/// A format, by its number in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// postcard.
    Postcard = 1,
    /// `MessagePack`, with names.
    MessagePack = 2,
    /// JSON.
    Json = 3,
    /// bincode 2, standard configuration.
    Bincode = 4,
}

/// A net below the guard, which is what bounds bincode by the limit that the user chose.
#[cfg(feature = "bincode")]
const BINCODE: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<{ 1 << 30 }>,
> = bincode::config::standard().with_limit::<{ 1 << 30 }>();

impl Format {
    pub(crate) fn from_id(id: u8) -> Result<Self, DecodeError> {
        match id {
            1 if cfg!(feature = "postcard") => Ok(Self::Postcard),
            2 if cfg!(feature = "message-pack") => Ok(Self::MessagePack),
            3 if cfg!(feature = "json") => Ok(Self::Json),
            4 if cfg!(feature = "bincode") => Ok(Self::Bincode),
            _ => Err(DecodeError::UnknownCodec(id)),
        }
    }

    /// Whether what is written relies on both sides agreeing on every part.
    pub(crate) const fn is_positional(self) -> bool {
        matches!(self, Self::Postcard | Self::Bincode)
    }

    /// Formats with names tell types so: what serde buffers on the way (`flatten`, `untagged`) is read back as if from a
    /// readable format, and the two sides have to agree.
    pub(crate) const fn is_human_readable(self) -> bool {
        !self.is_positional()
    }

    /// Appends the value's bytes to `out`.
    #[allow(clippy::needless_pass_by_value, reason = "without any codec, `out` goes nowhere")]
    pub(crate) fn encode<T: Serialize>(self, value: &T, out: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
        match self {
            #[cfg(feature = "postcard")]
            Self::Postcard => postcard::to_extend(value, out).map_err(refused),
            #[cfg(feature = "message-pack")]
            Self::MessagePack => {
                let mut writer = rmp_serde::Serializer::new(out).with_struct_map().with_human_readable();
                value.serialize(&mut writer).map_err(refused)?;
                Ok(writer.into_inner())
            }
            #[cfg(feature = "json")]
            Self::Json => {
                let mut out = out;
                serde_json::to_writer(&mut out, value).map_err(refused)?;
                Ok(out)
            }
            #[cfg(feature = "bincode")]
            Self::Bincode => {
                let mut out = out;
                bincode::serde::encode_into_std_write(value, &mut out, BINCODE).map_err(refused)?;
                Ok(out)
            }
            #[allow(unreachable_patterns, reason = "reached when a codec is not compiled in")]
            _ => {
                let _ = (value, out);
                Err(EncodeError::NoCodec)
            }
        }
    }

    /// Reads a value that takes up all of `bytes`. Lists and maps in it hold up to `limit` bytes.
    pub(crate) fn decode<T: DeserializeOwned>(self, bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
        let budget = Budget::new(limit);
        let seed = Guarded { budget: &budget, value: std::marker::PhantomData };
        self.read(bytes, seed).map_err(|error| if budget.is_exceeded() { DecodeError::Limit } else { error })
    }

    fn read<'de, S: DeserializeSeed<'de>>(self, bytes: &'de [u8], seed: S) -> Result<S::Value, DecodeError> {
        match self {
            #[cfg(feature = "postcard")]
            Self::Postcard => {
                let mut reader = postcard::Deserializer::from_bytes(bytes);
                let value = seed.deserialize(&mut reader).map_err(unread)?;
                at_end(value, reader.finalize().map_err(unread)?.len())
            }
            #[cfg(feature = "message-pack")]
            Self::MessagePack => {
                let mut reader = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
                let value = seed.deserialize(&mut reader).map_err(unread)?;
                // The reader does not tell what is left, but only at the end it cannot read so much as a marker.
                match <bool as serde::Deserialize>::deserialize(&mut reader) {
                    Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
                    _ => Err(DecodeError::Length),
                }
            }
            #[cfg(feature = "json")]
            Self::Json => {
                let mut reader = serde_json::Deserializer::from_slice(bytes);
                let value = seed.deserialize(&mut reader).map_err(unread)?;
                reader.end().map_err(unread)?;
                Ok(value)
            }
            #[cfg(feature = "bincode")]
            Self::Bincode => {
                let (value, used) = bincode::serde::seed_decode_from_slice(seed, bytes, BINCODE).map_err(unread)?;
                at_end(value, bytes.len() - used)
            }
            #[allow(unreachable_patterns, reason = "reached when a codec is not compiled in")]
            _ => {
                let _ = (bytes, seed);
                Err(DecodeError::UnknownCodec(self as u8))
            }
        }
    }
}

/// Reads a `T` through the guard.
struct Guarded<'b, T> {
    budget: &'b Budget,
    value: std::marker::PhantomData<T>,
}

impl<'de, T: serde::Deserialize<'de>> DeserializeSeed<'de> for Guarded<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(Guard::new(deserializer, self.budget))
    }
}

#[allow(dead_code, reason = "not every codec needs it")]
#[cold]
fn refused(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::Codec(error.to_string())
}

#[allow(dead_code, reason = "not every codec needs it")]
#[cold]
fn unread(error: impl std::fmt::Display) -> DecodeError {
    DecodeError::Codec(error.to_string())
}

#[allow(dead_code, reason = "not every codec needs it")]
fn at_end<T>(value: T, left: usize) -> Result<T, DecodeError> {
    if left == 0 { Ok(value) } else { Err(DecodeError::Length) }
}
