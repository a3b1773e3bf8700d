//! Watching a value serialize: one serializer that tells an observer what it sees.
//!
//! [`walk`] runs a value's `Serialize` and reports each scalar, container, field and variant to an [`Observer`], which
//! may fold what it hears into a number (a hash, a weight) or stop the walk. Nothing is written anywhere.
//!
//! A walk never goes deeper than [`MAX_DEPTH`].

use std::fmt;

use serde::ser::{self, Serialize};

use super::Kind;

/// How many containers (also `Some` and newtypes) may lie in each other in a value that is stored.
pub(crate) const MAX_DEPTH: u32 = 128;

/// Why a walk ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The observer had seen enough.
    Misfit,
    /// Nested deeper than [`MAX_DEPTH`].
    Depth,
    /// The value's own `Serialize` failed.
    Custom(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misfit => f.write_str("the value does not fit its type's schema"),
            Self::Depth => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Self::Custom(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

/// Which part of a container comes next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// An element of a sequence or tuple, or the content of `Some` and newtypes.
    Item(usize),
    /// A field of a struct, in the order of serialization.
    Field(usize, &'static str),
    /// A map's key.
    Key,
    /// A map's value.
    Value,
}

/// Hears what a value serializes. Results of parts are folded into the result of the whole.
pub(crate) trait Observer {
    /// A position that the observer hands down from a container to its parts.
    type At: Copy;

    /// What the value shall believe about the format.
    fn is_human_readable(&self) -> bool;
    /// A number, `bool`, `char`, unit or `None`, as bits.
    fn scalar(&mut self, at: Self::At, kind: Kind, bits: u64) -> Result<u64, Stop>;
    /// Text or bytes, and 128-bit numbers.
    fn bytes(&mut self, at: Self::At, kind: Kind, bytes: &[u8]) -> Result<u64, Stop>;
    /// A container begins: where it is, and the start of the fold.
    fn open(&mut self, at: Self::At, kind: Kind, len: Option<usize>) -> Result<(Self::At, u64), Stop>;
    /// A variant begins. `body` tells which of the four forms it has.
    fn variant(
        &mut self,
        at: Self::At,
        index: u32,
        name: &'static str,
        body: Kind,
        len: usize,
    ) -> Result<(Self::At, u64), Stop>;
    /// Where a part lies.
    fn step(&mut self, at: Self::At, step: Step) -> Result<Self::At, Stop>;
    /// Takes a part's result into the container's.
    fn fold(&mut self, sum: u64, kind: Kind, step: Step, part: u64) -> u64;
    /// A map's entry: its result of those of key and value.
    fn entry(&mut self, key: u64, value: u64) -> u64;
    /// A field was left out.
    fn skip(&mut self, at: Self::At, name: &'static str) -> Result<(), Stop>;
    /// A container ends after `count` parts.
    fn close(&mut self, at: Self::At, kind: Kind, sum: u64, count: usize) -> Result<u64, Stop>;
}

/// Shows `value` to `observer` and returns the fold.
pub(crate) fn walk<T: Serialize + ?Sized, O: Observer>(value: &T, observer: &mut O, at: O::At) -> Result<u64, Stop> {
    value.serialize(Walk { observer, at, depth: 0 })
}

struct Walk<'a, O: Observer> {
    observer: &'a mut O,
    at: O::At,
    depth: u32,
}

impl<'a, O: Observer> Walk<'a, O> {
    fn deeper(&self) -> Result<u32, Stop> {
        if self.depth >= MAX_DEPTH { Err(Stop::Depth) } else { Ok(self.depth + 1) }
    }

    fn open(self, kind: Kind, len: Option<usize>) -> Result<Parts<'a, O>, Stop> {
        let depth = self.deeper()?;
        let (at, sum) = self.observer.open(self.at, kind, len)?;
        Ok(Parts { observer: self.observer, at, depth, kind, sum, count: 0, key: 0 })
    }

    fn variant(self, index: u32, name: &'static str, kind: Kind, len: usize) -> Result<Parts<'a, O>, Stop> {
        let depth = self.deeper()?;
        let (at, sum) = self.observer.variant(self.at, index, name, kind, len)?;
        Ok(Parts { observer: self.observer, at, depth, kind, sum, count: 0, key: 0 })
    }
}

/// The parts of one container.
struct Parts<'a, O: Observer> {
    observer: &'a mut O,
    at: O::At,
    depth: u32,
    kind: Kind,
    sum: u64,
    count: usize,
    /// The result of the map key whose value is to come.
    key: u64,
}

impl<O: Observer> Parts<'_, O> {
    fn visit<T: Serialize + ?Sized>(&mut self, step: Step, value: &T) -> Result<u64, Stop> {
        let at = self.observer.step(self.at, step)?;
        value.serialize(Walk { observer: &mut *self.observer, at, depth: self.depth })
    }

    fn part<T: Serialize + ?Sized>(&mut self, step: Step, value: &T) -> Result<(), Stop> {
        let part = self.visit(step, value)?;
        self.sum = self.observer.fold(self.sum, self.kind, step, part);
        self.count += 1;
        Ok(())
    }

    fn only<T: Serialize + ?Sized>(mut self, value: &T) -> Result<u64, Stop> {
        self.part(Step::Item(0), value)?;
        self.close()
    }

    fn close(self) -> Result<u64, Stop> {
        self.observer.close(self.at, self.kind, self.sum, self.count)
    }
}

macro_rules! scalars {
    ($($method:ident $type:ty, $kind:ident, $value:ident => $bits:expr;)*) => {$(
        fn $method(self, $value: $type) -> Result<u64, Stop> {
            self.observer.scalar(self.at, Kind::$kind, $bits)
        }
    )*};
}

#[allow(clippy::cast_sign_loss, reason = "the bits matter, not the number")]
impl<'a, O: Observer> ser::Serializer for Walk<'a, O> {
    type Ok = u64;
    type Error = Stop;
    type SerializeSeq = Parts<'a, O>;
    type SerializeTuple = Parts<'a, O>;
    type SerializeTupleStruct = Parts<'a, O>;
    type SerializeTupleVariant = Parts<'a, O>;
    type SerializeMap = Parts<'a, O>;
    type SerializeStruct = Parts<'a, O>;
    type SerializeStructVariant = Parts<'a, O>;

    scalars! {
        serialize_bool bool, Bool, v => u64::from(v);
        serialize_i8 i8, I8, v => v as u64;
        serialize_i16 i16, I16, v => v as u64;
        serialize_i32 i32, I32, v => v as u64;
        serialize_i64 i64, I64, v => v as u64;
        serialize_u8 u8, U8, v => u64::from(v);
        serialize_u16 u16, U16, v => u64::from(v);
        serialize_u32 u32, U32, v => u64::from(v);
        serialize_u64 u64, U64, v => v;
        serialize_f32 f32, F32, v => u64::from(v.to_bits());
        serialize_f64 f64, F64, v => v.to_bits();
        serialize_char char, Char, v => u64::from(v);
    }

    fn is_human_readable(&self) -> bool {
        self.observer.is_human_readable()
    }

    fn serialize_i128(self, v: i128) -> Result<u64, Stop> {
        self.observer.bytes(self.at, Kind::I128, &v.to_le_bytes())
    }

    fn serialize_u128(self, v: u128) -> Result<u64, Stop> {
        self.observer.bytes(self.at, Kind::U128, &v.to_le_bytes())
    }

    fn serialize_str(self, v: &str) -> Result<u64, Stop> {
        self.observer.bytes(self.at, Kind::Str, v.as_bytes())
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<u64, Stop> {
        self.observer.bytes(self.at, Kind::Bytes, v)
    }

    fn serialize_none(self) -> Result<u64, Stop> {
        self.observer.scalar(self.at, Kind::Option, 0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<u64, Stop> {
        self.open(Kind::Option, Some(1))?.only(value)
    }

    fn serialize_unit(self) -> Result<u64, Stop> {
        self.observer.scalar(self.at, Kind::Unit, 0)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<u64, Stop> {
        self.observer.scalar(self.at, Kind::UnitStruct, 0)
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, variant: &'static str) -> Result<u64, Stop> {
        self.variant(index, variant, Kind::UnitVariant, 0)?.close()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<u64, Stop> {
        self.open(Kind::Newtype, Some(1))?.only(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<u64, Stop> {
        self.variant(index, variant, Kind::NewtypeVariant, 1)?.only(value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'a, O>, Stop> {
        self.open(Kind::Seq, len)
    }

    fn serialize_tuple(self, len: usize) -> Result<Parts<'a, O>, Stop> {
        self.open(Kind::Tuple, Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Parts<'a, O>, Stop> {
        self.open(Kind::TupleStruct, Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'a, O>, Stop> {
        self.variant(index, variant, Kind::TupleVariant, len)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Parts<'a, O>, Stop> {
        self.open(Kind::Map, len)
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Parts<'a, O>, Stop> {
        self.open(Kind::Struct, Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'a, O>, Stop> {
        self.variant(index, variant, Kind::StructVariant, len)
    }
}

macro_rules! by_position {
    ($($trait:ident $method:ident)*) => {$(
        impl<O: Observer> ser::$trait for Parts<'_, O> {
            type Ok = u64;
            type Error = Stop;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                self.part(Step::Item(self.count), value)
            }

            fn end(self) -> Result<u64, Stop> {
                self.close()
            }
        }
    )*};
}

by_position! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! by_name {
    ($($trait:ident)*) => {$(
        impl<O: Observer> ser::$trait for Parts<'_, O> {
            type Ok = u64;
            type Error = Stop;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Stop> {
                self.part(Step::Field(self.count, name), value)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), Stop> {
                self.observer.skip(self.at, name)
            }

            fn end(self) -> Result<u64, Stop> {
                self.close()
            }
        }
    )*};
}

by_name! { SerializeStruct SerializeStructVariant }

impl<O: Observer> ser::SerializeMap for Parts<'_, O> {
    type Ok = u64;
    type Error = Stop;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stop> {
        self.key = self.visit(Step::Key, key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        let value = self.visit(Step::Value, value)?;
        let entry = self.observer.entry(self.key, value);
        self.sum = self.observer.fold(self.sum, self.kind, Step::Value, entry);
        self.count += 1;
        Ok(())
    }

    fn end(self) -> Result<u64, Stop> {
        self.close()
    }
}
