//! A call of a cached function, with its own arguments.
//!
//! What is handed along here is references. The key is built at the end, in the place where it stays: one that is moved while it
//! grows costs more than a look-up.

use std::marker::PhantomData;

use super::function::{Complete, Function, Needs};
use crate::{Key, KeyPart, Tag, key::Start, registry::Site};

/// The call of a cached function with some of its own arguments.
pub struct Own<'a, P, B, A: ?Sized> {
    before: B,
    argument: &'a A,
    /// Writes it. Known where the argument is given, so that what is wrong with an argument is said there and once.
    write: fn(&A, &mut Key),
    parameters: PhantomData<fn() -> P>,
}

/// The call of a cached function with a tag.
pub struct Tagged<P, B, F> {
    before: B,
    write: F,
    parameters: PhantomData<fn() -> P>,
}

/// The call of a cached function with the tags that its site knows.
pub struct OwnTags<P, B> {
    before: B,
    parameters: PhantomData<fn() -> P>,
}

/// The call of a cached function with all its arguments.
pub trait Address: Part<Parameters: Complete> {}

impl<A: Part<Parameters: Complete>> Address for A {}

/// The call of a cached function with some of its arguments.
pub trait Part {
    /// What is still to be given.
    type Parameters;
    /// Where the keys of the function begin.
    fn start(&self) -> &'static Start;
    /// Where the function is declared.
    fn site(&self) -> &'static Site;
    /// Adds the arguments.
    fn add_to(&self, key: &mut Key);
}

impl<P, R> Part for Function<P, R> {
    type Parameters = P;

    #[inline]
    fn start(&self) -> &'static Start {
        self.start()
    }

    #[inline]
    fn site(&self) -> &'static Site {
        self.site()
    }

    #[inline]
    fn add_to(&self, _key: &mut Key) {}
}

macro_rules! parts {
    ($([$($generics:tt)*] $part:ty: $add:expr;)*) => {$(
        impl<$($generics)*> Part for $part {
            type Parameters = P;

            #[inline]
            fn start(&self) -> &'static Start {
                self.before.start()
            }

            #[inline]
            fn site(&self) -> &'static Site {
                self.before.site()
            }

            #[inline]
            fn add_to(&self, key: &mut Key) {
                self.before.add_to(key);
                let add: fn(&Self, &mut Key) = $add;
                add(self, key);
            }
        }
    )*};
}

parts! {
    [P, B: Part, A: ?Sized] Own<'_, P, B, A>: |own, key| (own.write)(own.argument, key);
    [P, B: Part, F: Fn(NewTag<'_>) -> NewTag<'_>] Tagged<P, B, F>: |tagged, key| {
        (tagged.write)(NewTag(key.add_tag()));
    };
    [P, B: Part] OwnTags<P, B>: |tagged, key| {
        if let Some(terms) = tagged.before.site().terms() {
            terms.add_tags(key);
        }
    };
}

/// A tag that is being written.
#[derive(Debug)]
pub struct NewTag<'a>(&'a mut Tag);

impl NewTag<'_> {
    /// Fixed text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.0.add_text(text);
        self
    }

    /// An argument.
    #[must_use]
    pub fn arg<A: KeyPart + ?Sized>(self, argument: &A) -> Self {
        self.0.add_arg(argument);
        self
    }
}

impl<'a, P, B, A: KeyPart + ?Sized> Own<'a, P, B, A> {
    #[inline]
    pub(super) fn new(before: B, argument: &'a A) -> Self {
        Self { before, argument, write: |argument, key| key.add_arg(argument), parameters: PhantomData }
    }

    #[inline]
    pub(super) fn of_any_type(before: B, argument: &'a A) -> Self {
        Self { before, argument, write: |argument, key| key.add_arg_of_any_type(argument), parameters: PhantomData }
    }
}

impl<Head: ?Sized, Rest, B, Z: ?Sized> Own<'_, Needs<Head, Rest>, B, Z> {
    /// Gives the next argument of the function itself, whose type is the parameter's.
    #[must_use]
    #[inline]
    pub fn own<A: KeyPart + ?Sized>(self, argument: &A) -> Own<'_, Rest, Self, A> {
        Own::new(self, argument)
    }

    /// As [`own`](Self::own), for an argument whose type the caller chooses.
    #[must_use]
    #[inline]
    pub fn own_of_any_type<A: KeyPart + ?Sized>(self, argument: &A) -> Own<'_, Rest, Self, A> {
        Own::of_any_type(self, argument)
    }
}

macro_rules! all_given {
    ($([$($generics:tt)*] $part:ty;)*) => {$(
        impl<$($generics)*> $part {
            /// Adds a label.
            #[must_use]
            #[inline]
            pub fn tag<W: Fn(NewTag<'_>) -> NewTag<'_>>(self, write: W) -> Tagged<P, Self, W> {
                Tagged { before: self, write, parameters: PhantomData }
            }

            /// Adds the labels that every call of the function has, if its site knows how they are made.
            #[must_use]
            #[inline]
            pub fn own_tags(self) -> OwnTags<P, Self> {
                OwnTags { before: self, parameters: PhantomData }
            }

            /// The key, where it is not built in its place.
            pub fn key(&self) -> Key
            where
                Self: Address,
            {
                let mut key = self.start().key();
                self.add_to(&mut key);
                key
            }
        }
    )*};
}

all_given! {
    [P, R] Function<P, R>;
    [P, B, A: ?Sized] Own<'_, P, B, A>;
    [P, B, F] Tagged<P, B, F>;
}
