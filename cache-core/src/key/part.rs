//! Which values can be part of a key.

use std::{borrow::Cow, rc::Rc, sync::Arc, time::Duration};

use super::Segment;

/// A value that can be an argument in a key.
///
/// Implemented for integers, `bool`, `char`, text, `Option`, tuples, slices, `Duration`, and with features for
/// `uuid`, `chrono`, `jiff` and `time`. Derive it for your own structs and enums. Floats have no `KeyPart`: equal ones
/// may differ in their bits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a cache key",
    label = "not a `KeyPart`",
    note = "for a type of your own, add `#[derive(KeyPart)]` (of `staleproof`)",
    note = "to leave an argument out of the key, write `skip(name)` in `#[cached(...)]`; to take only a part of it, `key(name.id)`",
    note = "floats are refused because equal values may differ in their bits: use an integer or text form"
)]
pub trait KeyPart {
    /// Writes the value. Two values of one type must write the same only if they are equal.
    fn encode(&self, segment: &mut Segment<'_>);
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl KeyPart for $number {
            fn encode(&self, segment: &mut Segment<'_>) {
                segment.number(self);
            }
        }
    )*};
}

macro_rules! integers {
    ($($number:ty)*) => {$(
        impl KeyPart for $number {
            #[inline]
            fn encode(&self, segment: &mut Segment<'_>) {
                match u64::try_from(*self) {
                    Ok(number) => segment.integer(number),
                    Err(_) => segment.number(self),
                }
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);
numbers!(
    std::num::NonZeroI8 std::num::NonZeroI16 std::num::NonZeroI32 std::num::NonZeroI64 std::num::NonZeroI128
    std::num::NonZeroU8 std::num::NonZeroU16 std::num::NonZeroU32 std::num::NonZeroU64 std::num::NonZeroU128
    std::num::NonZeroUsize std::num::NonZeroIsize
);

impl KeyPart for bool {
    fn encode(&self, segment: &mut Segment<'_>) {
        segment.unit_variant(if *self { "true" } else { "false" });
    }
}

impl KeyPart for char {
    fn encode(&self, segment: &mut Segment<'_>) {
        segment.text(self.encode_utf8(&mut [0; 4]));
    }
}

impl KeyPart for str {
    #[inline]
    fn encode(&self, segment: &mut Segment<'_>) {
        segment.text(self);
    }
}

impl KeyPart for String {
    #[inline]
    fn encode(&self, segment: &mut Segment<'_>) {
        segment.text(self);
    }
}

impl KeyPart for Duration {
    /// Seconds, with nine decimals where the duration has a fraction of a second.
    fn encode(&self, segment: &mut Segment<'_>) {
        match self.subsec_nanos() {
            0 => segment.number(format_args!("{}s", self.as_secs())),
            nanos => segment.number(format_args!("{}.{nanos:09}s", self.as_secs())),
        }
    }
}

impl KeyPart for () {
    fn encode(&self, segment: &mut Segment<'_>) {
        segment.sequence(|_| ());
    }
}

impl<T: KeyPart> KeyPart for Option<T> {
    fn encode(&self, segment: &mut Segment<'_>) {
        match self {
            None => segment.none(),
            Some(value) => segment.some(value),
        }
    }
}

impl<T: KeyPart> KeyPart for [T] {
    fn encode(&self, segment: &mut Segment<'_>) {
        segment.sequence(|items| {
            for item in self {
                items.item(item);
            }
        });
    }
}

impl<T: KeyPart, const N: usize> KeyPart for [T; N] {
    fn encode(&self, segment: &mut Segment<'_>) {
        self.as_slice().encode(segment);
    }
}

impl<T: KeyPart> KeyPart for Vec<T> {
    fn encode(&self, segment: &mut Segment<'_>) {
        self.as_slice().encode(segment);
    }
}

impl<T: KeyPart + ToOwned + ?Sized> KeyPart for Cow<'_, T> {
    fn encode(&self, segment: &mut Segment<'_>) {
        segment.value(self.as_ref());
    }
}

macro_rules! pointers {
    ($($pointer:ty)*) => {$(
        impl<T: KeyPart + ?Sized> KeyPart for $pointer {
            #[inline]
            fn encode(&self, segment: &mut Segment<'_>) {
                segment.value(&**self);
            }
        }
    )*};
}

pointers!(&T &mut T Box<T> Rc<T> Arc<T>);

macro_rules! tuples {
    ($(($($item:ident)+))+) => {$(
        impl<$($item: KeyPart),+> KeyPart for ($($item,)+) {
            #[allow(non_snake_case, reason = "the fields carry the names of their types")]
            fn encode(&self, segment: &mut Segment<'_>) {
                let ($($item,)+) = self;
                segment.sequence(|items| { $(items.item($item);)+ });
            }
        }
    )+};
}

tuples!((A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H));
