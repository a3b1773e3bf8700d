//! A cached function as an address: where its keys begin, and the parameters still to be given.
//!
//! The function itself gives its own arguments: what is handed along then is references, and the key is built at the end, in the place
//! where it stays. A key that is moved while it grows costs more than a look-up. A target gives arguments that stand for the
//! parameters, one by one.

use std::{fmt, marker::PhantomData};

use super::{argument::KeyArg, types};
use crate::{Key, KeyPart, Tag, Target, key::Start, registry::Site};

/// A cached function, addressed. `P` lists the parameters of its key that are still to be given.
///
/// Covariant in `P`: a shorter-lived argument may stand for a parameter with a longer lifetime, since nothing of it is
/// kept but its encoding.
pub struct Function<P> {
    start: &'static Start,
    parameters: PhantomData<fn() -> P>,
}

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

/// A target on its way: a cached function with some arguments.
pub struct Aim<P> {
    key: Key,
    parameters: PhantomData<fn() -> P>,
}

/// A parameter of type `Head`, then `Rest`.
pub struct Needs<Head: ?Sized, Rest = Nothing>(PhantomData<fn() -> (Rest, *const Head)>);

/// No more parameters.
pub struct Nothing(());

/// The [`Function`] whose key takes the listed types.
#[doc(hidden)]
#[macro_export]
macro_rules! __Function {
    (@list) => { $crate::call::Nothing };
    (@list $head:ty $(, $rest:ty)*) => { $crate::call::Needs<$head, $crate::__Function!(@list $($rest),*)> };
    ($($head:ty),*) => { $crate::call::Function<$crate::__Function!(@list $($head),*)> };
}

/// Parameters that are not known, because the attribute of the cached function has an error of its own.
pub struct Unchecked(());

/// An argument that fits the next of the parameters `P`.
pub trait Fits<P>: Sized {
    /// The parameters after it.
    type Rest;
    /// Adds the argument as the next segment.
    fn fit(self, key: Key) -> Key;
}

impl<A: KeyArg<Head>, Head: ?Sized, Rest> Fits<Needs<Head, Rest>> for A {
    type Rest = Rest;
    fn fit(self, key: Key) -> Key {
        self.add_to(key)
    }
}

impl<A: OneMore> Fits<Nothing> for A {
    type Rest = Nothing;
    fn fit(self, key: Key) -> Key {
        key
    }
}

impl<A> Fits<Unchecked> for A {
    type Rest = Unchecked;
    fn fit(self, key: Key) -> Key {
        key
    }
}

/// Implemented by nothing: an argument that no parameter is left for.
#[diagnostic::on_unimplemented(
    message = "too many arguments: the key of this cached function has no place for this one",
    label = "one argument too many",
    note = "the arguments of a target are those of the cached function, without `self` and without what its `skip(...)` leaves out"
)]
pub trait OneMore {}

/// A list of parameters with nothing left to be given.
pub trait Complete {}

impl Complete for Nothing {}

impl Complete for Unchecked {}

impl<Head: Given + ?Sized, Rest> Complete for Needs<Head, Rest> {}

/// Implemented by nothing: the type of a parameter that no argument is given for.
#[diagnostic::on_unimplemented(
    message = "too few arguments: the key of this cached function goes on with `{Self}`",
    label = "add an argument for `{Self}`, or `..` at the end to invalidate all entries that begin with these"
)]
pub trait Given {}

/// Whether all parameters are given.
pub trait Parameters {
    /// Nothing is left to be given.
    const GIVEN: bool;
}

impl<Head: ?Sized, Rest> Parameters for Needs<Head, Rest> {
    const GIVEN: bool = false;
}

impl Parameters for Nothing {
    const GIVEN: bool = true;
}

impl Parameters for Unchecked {
    const GIVEN: bool = false;
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
    /// Adds the arguments.
    fn add_to(&self, key: &mut Key);
}

impl<P> Part for Function<P> {
    type Parameters = P;

    #[inline]
    fn start(&self) -> &'static Start {
        self.start
    }

    #[inline]
    fn add_to(&self, _key: &mut Key) {}
}

impl<P, B: Part, A: ?Sized> Part for Own<'_, P, B, A> {
    type Parameters = P;

    #[inline]
    fn start(&self) -> &'static Start {
        self.before.start()
    }

    #[inline]
    fn add_to(&self, key: &mut Key) {
        self.before.add_to(key);
        (self.write)(self.argument, key);
    }
}

impl<P, B: Part, F: Fn(NewTag<'_>) -> NewTag<'_>> Part for Tagged<P, B, F> {
    type Parameters = P;

    #[inline]
    fn start(&self) -> &'static Start {
        self.before.start()
    }

    #[inline]
    fn add_to(&self, key: &mut Key) {
        self.before.add_to(key);
        (self.write)(NewTag(key.add_tag()));
    }
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

impl<P> Function<P> {
    /// The function of `site`. `closure` is the type name of a closure made in it, or empty for `skip(Self)`; `types` are
    /// its own type and const parameters.
    ///
    /// What is generic gets a segment of its own after the prefix: functions of two types share nothing.
    #[inline]
    pub fn new(site: &'static Site, closure: &'static str, types: &[&dyn fmt::Display]) -> Self {
        let start = site.start();
        if types.is_empty() && !site.in_generic_type() {
            return Self { start, parameters: PhantomData };
        }
        Self { start: types::start(site, closure, types), parameters: PhantomData }
    }

    /// Gives the first argument of a target.
    #[must_use]
    pub fn arg<A: Fits<P>>(self, argument: A) -> Aim<A::Rest> {
        Aim { key: argument.fit(self.start.key()), parameters: PhantomData }
    }

    /// The entry of the call without arguments.
    pub fn entry(self) -> Target
    where
        P: Complete,
    {
        self.start.key().into_entry()
    }

    /// The entries of all calls.
    pub fn rest(self) -> Target
    where
        P: Parameters,
    {
        Aim::<P> { key: self.start.key(), parameters: PhantomData }.rest()
    }
}

impl<P> Aim<P> {
    /// Gives the next argument.
    #[must_use]
    pub fn arg<A: Fits<P>>(self, argument: A) -> Aim<A::Rest> {
        Aim { key: argument.fit(self.key), parameters: PhantomData }
    }

    /// The entry of the call with these arguments.
    pub fn entry(self) -> Target
    where
        P: Complete,
    {
        self.key.into_entry()
    }

    /// The entries of all calls that begin with these arguments.
    pub fn rest(self) -> Target
    where
        P: Parameters,
    {
        if P::GIVEN { self.key.into_entry() } else { self.key.into_node() }
    }
}

impl<'a, P, B, A: KeyPart + ?Sized> Own<'a, P, B, A> {
    #[inline]
    fn new(before: B, argument: &'a A) -> Self {
        Self { before, argument, write: |argument, key| key.add_arg(argument), parameters: PhantomData }
    }

    #[inline]
    fn of_any_type(before: B, argument: &'a A) -> Self {
        Self { before, argument, write: |argument, key| key.add_arg_of_any_type(argument), parameters: PhantomData }
    }
}

impl<Head: ?Sized, Rest> Function<Needs<Head, Rest>> {
    /// Gives the first argument of the function itself, whose type is the parameter's.
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

impl<'a, Head: ?Sized, Rest, B, Z: ?Sized> Own<'a, Needs<Head, Rest>, B, Z> {
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

macro_rules! tags_follow {
    ($([$($generics:tt)*] $part:ty;)*) => {$(
        impl<$($generics)* P> $part {
            /// Adds a label.
            #[must_use]
            #[inline]
            pub fn tag<W: Fn(NewTag<'_>) -> NewTag<'_>>(self, write: W) -> Tagged<P, Self, W> {
                Tagged { before: self, write, parameters: PhantomData }
            }
        }
    )*};
}

tags_follow! {
    [] Function<P>;
    ['a, B, A: ?Sized,] Own<'a, P, B, A>;
    [B, F,] Tagged<P, B, F>;
}

impl<P> fmt::Debug for Function<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.start.key()).finish()
    }
}

impl<P> fmt::Debug for Aim<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Aim").field(&self.key).finish()
    }
}
