//! A deserializer in front of another that bounds what hostile bytes can make a type do.
//!
//! postcard and bincode have no limit on depth, so a few megabytes of `Some(Some(Some(…` would overflow the stack of a
//! recursive type, which aborts the process; and a list of a billion empty tuples takes no input at all. The guard counts the depth
//! of containers, charges the elements of lists and maps to a [`Budget`], and clamps the lengths that the input
//! claims. Scalars pass through without a cost.

use std::{cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

/// How deep containers may lie in each other. Twice what is ever stored, for types that read with more wrapping than they
/// write.
pub(super) const MAX_DEPTH: u32 = 256;

/// The largest number of elements that a length in the input may announce; what really comes is not bounded by it.
const MAX_HINT: usize = 1 << 16;

/// How many bytes the elements of lists and maps may take in memory.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<usize>,
    exceeded: Cell<bool>,
}

impl Budget {
    pub(super) const fn new(bytes: usize) -> Self {
        Self { left: Cell::new(bytes), exceeded: Cell::new(false) }
    }

    /// Whether the guard has refused something.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.get()
    }

    #[inline]
    fn charge<T, E: de::Error>(&self) -> Result<(), E> {
        // At least one byte, so that elements of no size come to an end as well.
        match self.left.get().checked_sub(size_of::<T>().max(1)) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.refuse()),
        }
    }

    #[cold]
    fn refuse<E: de::Error>(&self) -> E {
        self.exceeded.set(true);
        E::custom("over the decode limit")
    }
}

/// Anything of the deserializing side, guarded: a deserializer, a visitor, a seed, an access. `LIST` marks visitors and
/// accesses of containers whose input says how many parts they have; those are charged.
pub(super) struct Guard<'b, I, const LIST: bool = false> {
    inner: I,
    budget: &'b Budget,
    depth: u32,
}

impl<'b, I> Guard<'b, I> {
    pub(super) const fn new(inner: I, budget: &'b Budget) -> Self {
        Self { inner, budget, depth: 0 }
    }
}

impl<'b, I, const LIST: bool> Guard<'b, I, LIST> {
    #[inline]
    const fn same<J>(&self, inner: J) -> Guard<'b, J> {
        Guard { inner, budget: self.budget, depth: self.depth }
    }

    #[inline]
    const fn list<J>(&self, inner: J) -> Guard<'b, J, true> {
        Guard { inner, budget: self.budget, depth: self.depth }
    }

    #[inline]
    fn deeper<J, E: de::Error>(&self, inner: J) -> Result<Guard<'b, J, LIST>, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.budget.refuse());
        }
        Ok(Guard { inner, budget: self.budget, depth: self.depth + 1 })
    }

    /// Not a list any more.
    #[inline]
    fn plain(self) -> Guard<'b, I> {
        Guard { inner: self.inner, budget: self.budget, depth: self.depth }
    }

    #[inline]
    fn charge<T, E: de::Error>(&self) -> Result<(), E> {
        if LIST { self.budget.charge::<T, E>() } else { Ok(()) }
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

macro_rules! containers {
    ($guard:ident: $($method:ident($($arg:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.$guard(visitor);
            self.inner.$method($($arg,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guard<'_, D> {
    type Error = D::Error;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_bytes
        deserialize_unit deserialize_identifier
    }

    containers! { list: deserialize_any() deserialize_seq() deserialize_map() deserialize_ignored_any() }

    containers! { same:
        deserialize_option()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    /// Borrowed: every format here reads from a slice, and some allocate an owned text by the length that the input claims.
    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_bytes(visitor)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visits {
    ($($method:ident $type:ty;)*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>, const LIST: bool> Visitor<'de> for Guard<'_, V, LIST> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visits! {
        visit_bool bool; visit_i8 i8; visit_i16 i16; visit_i32 i32; visit_i64 i64; visit_i128 i128;
        visit_u8 u8; visit_u16 u16; visit_u32 u32; visit_u64 u64; visit_u128 u128; visit_f32 f32; visit_f64 f64;
        visit_char char; visit_str &str; visit_borrowed_str &'de str; visit_string String;
        visit_bytes &[u8]; visit_borrowed_bytes &'de [u8]; visit_byte_buf Vec<u8>;
    }

    #[inline]
    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.deeper(deserializer)?.plain();
        self.inner.visit_some(deserializer)
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.deeper(deserializer)?.plain();
        self.inner.visit_newtype_struct(deserializer)
    }

    #[inline]
    fn visit_seq<A: de::SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.deeper(access)?;
        self.inner.visit_seq(access)
    }

    #[inline]
    fn visit_map<A: de::MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.deeper(access)?;
        self.inner.visit_map(access)
    }

    #[inline]
    fn visit_enum<A: de::EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.deeper(access)?.plain();
        self.inner.visit_enum(access)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Guard<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.same(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: de::SeqAccess<'de>, const LIST: bool> de::SeqAccess<'de> for Guard<'_, A, LIST> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.charge::<S::Value, _>()?;
        let seed = self.same(seed);
        self.inner.next_element_seed(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|hint| hint.min(MAX_HINT))
    }
}

impl<'de, A: de::MapAccess<'de>, const LIST: bool> de::MapAccess<'de> for Guard<'_, A, LIST> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.charge::<S::Value, _>()?;
        let seed = self.same(seed);
        self.inner.next_key_seed(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.charge::<S::Value, _>()?;
        let seed = self.same(seed);
        self.inner.next_value_seed(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|hint| hint.min(MAX_HINT))
    }
}

impl<'b, 'de, A: de::EnumAccess<'de>> de::EnumAccess<'de> for Guard<'b, A> {
    type Error = A::Error;
    type Variant = Guard<'b, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) =
            self.inner.variant_seed(Guard { inner: seed, budget: self.budget, depth: self.depth })?;
        Ok((value, Guard { inner: variant, budget: self.budget, depth: self.depth }))
    }
}

impl<'de, A: de::VariantAccess<'de>> de::VariantAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.same(seed);
        self.inner.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.same(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.same(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
