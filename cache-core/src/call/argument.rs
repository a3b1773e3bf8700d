//! Which values may stand for a parameter of a cached function.
//!
//! Whatever is allowed encodes exactly as the parameter itself would, so that a target names the entry that the call
//! with the same arguments made. `&str` may stand for `String`, a `Vec` for a slice, a reference for what it refers to.

use std::{borrow::Cow, rc::Rc, sync::Arc};

use crate::{Key, KeyPart};

/// An argument that may stand for a parameter of type `P`.
#[diagnostic::on_unimplemented(
    message = "the key of this cached function takes `{P}` here, not `{Self}`",
    label = "expected `{P}`, found `{Self}`",
    note = "the arguments of a target are those of the cached function, without `self` and without what its `skip(...)` leaves out",
    note = "a reference may stand for its value, `&str` for `String`, and a `Vec` or array for a slice"
)]
pub trait KeyArg<P: ?Sized> {
    /// Adds the argument as the next segment.
    fn add_to(&self, key: Key) -> Key;
}

/// Stands for a parameter whose type the caller chooses (`impl KeyPart`).
#[derive(Debug)]
pub struct Anything(());

/// Stands for an expression of `key(...)`, whose type is not written down.
#[derive(Debug)]
pub struct Computed(());

impl<A: KeyPart> KeyArg<Anything> for A {
    fn add_to(&self, key: Key) -> Key {
        key.arg_of_any_type(self)
    }
}

impl<A: KeyPart> KeyArg<Computed> for A {
    fn add_to(&self, key: Key) -> Key {
        key.arg(self)
    }
}

/// Each row for the type itself and behind references. After `|ok|` a binding is one, and its borrow one more.
macro_rules! stands_for {
    ($(($($generics:tt)*) $given:ty => $parameter:ty;)*) => {
        stands_for! { @as_it_is $(($($generics)*) $given => $parameter;)* }
        stands_for! { @behind_references $(($($generics)*) $given => $parameter;)* }
    };
    (@behind_references $(($($generics:tt)*) $given:ty => $parameter:ty;)*) => {
        stands_for! { @as_it_is $(
            ($($generics)*) &$given => $parameter;
            ($($generics)*) &&$given => $parameter;
            ($($generics)*) &&&$given => $parameter;
        )* }
    };
    (@as_it_is $(($($generics:tt)*) $given:ty => $parameter:ty;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> KeyArg<$parameter> for $given {
            fn add_to(&self, key: Key) -> Key {
                key.arg(self)
            }
        }
    )*};
}

stands_for! {
    @as_it_is
    (P: KeyPart) P => P;
}

stands_for! {
    @behind_references
    (P: KeyPart + ?Sized) P => P;
    () str => String;
    () str => Cow<'_, str>;
    (T: KeyPart) [T] => Vec<T>;
}

stands_for! {
    () String => str;
    () Cow<'_, str> => str;
    () Cow<'_, str> => String;
    () String => Cow<'_, str>;
    (T: KeyPart) Vec<T> => [T];
    (T: KeyPart, const N: usize) [T; N] => [T];
    (T: KeyPart, const N: usize) [T; N] => Vec<T>;
}

macro_rules! pointers {
    ($($pointer:ident)*) => {$(
        stands_for! {
            (T: KeyPart + ?Sized) $pointer<T> => T;
        }
        stands_for! {
            @as_it_is
            (T: KeyPart) T => $pointer<T>;
        }
        stands_for! {
            @behind_references
            (T: KeyPart + ?Sized) T => $pointer<T>;
        }
    )*};
}

pointers!(Box Rc Arc);
