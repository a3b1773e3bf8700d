//! A cached function as an address: where its keys begin, and the parameters still to be given.
//!
//! The function itself gives its own arguments: what is handed along then is references, and the key is built at the end, in the place
//! where it stays. A key that is moved while it grows costs more than a look-up. A target gives arguments that stand for the
//! parameters, one by one.

use std::{fmt, marker::PhantomData};

use super::{argument::KeyArg, own::Own, share::Apart, types};
use crate::{Key, KeyPart, Target, key::Start, registry::Site};

/// A cached function, addressed. `P` lists the parameters of its key that are still to be given.
///
/// Covariant in `P`: a shorter-lived argument may stand for a parameter with a longer lifetime, since nothing of it is
/// kept but its encoding.
///
/// `R` says what the function returns, if others may share its entries.
pub struct Function<P, R = Apart> {
    start: &'static Start,
    site: &'static Site,
    parameters: PhantomData<fn() -> (P, R)>,
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

/// The [`Function`] whose key takes the listed types, and what it returns if others may share its entries.
#[doc(hidden)]
#[macro_export]
macro_rules! __Function {
    (@list) => { $crate::call::Nothing };
    (@list $head:ty $(, $rest:ty)*) => { $crate::call::Needs<$head, $crate::__Function!(@list $($rest),*)> };
    ($($head:ty),*) => { $crate::call::Function<$crate::__Function!(@list $($head),*)> };
    ($($head:ty),* => $output:ty) => {
        $crate::call::Function<$crate::__Function!(@list $($head),*), $crate::call::Returns<$output>>
    };
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
    label = "add an argument for `{Self}`; to invalidate all entries that begin with these, `..`"
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

impl<P, R> Function<P, R> {
    /// The function of `site`. `closure` is the type name of a closure made in it, or empty for `skip(Self)`; `types` are
    /// its own type and const parameters.
    ///
    /// What is generic gets a segment of its own after the prefix: functions of two types share nothing.
    #[inline]
    pub fn new(site: &'static Site, closure: &'static str, types: &[&dyn fmt::Display]) -> Self {
        let start = site.start();
        if types.is_empty() && !site.in_generic_type() {
            return Self { start, site, parameters: PhantomData };
        }
        Self { start: types::start(site, closure, types), site, parameters: PhantomData }
    }

    /// Gives the first argument of a target.
    #[must_use]
    pub fn arg<A: Fits<P>>(self, argument: A) -> Aim<A::Rest> {
        self.aim().arg(argument)
    }

    /// The same address, for parameters of other types that are encoded alike.
    pub fn alias<Q>(self) -> Function<Q> {
        Function { start: self.start, site: self.site, parameters: PhantomData }
    }

    #[inline]
    pub(super) fn start(&self) -> &'static Start {
        self.start
    }

    #[inline]
    pub(super) fn site(&self) -> &'static Site {
        self.site
    }

    pub(super) fn aim(self) -> Aim<P> {
        Aim { key: self.start.key(), parameters: PhantomData }
    }

    /// The entry of the call without arguments.
    pub fn entry(self) -> Target
    where
        P: Complete,
    {
        self.aim().entry()
    }

    /// The entries of all calls.
    pub fn rest(self) -> Target
    where
        P: Parameters,
    {
        self.aim().rest()
    }
}

impl<Head: ?Sized, Rest, R> Function<Needs<Head, Rest>, R> {
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

    pub(super) fn copy(&self) -> Self {
        Self { key: self.key.clone(), parameters: PhantomData }
    }

    pub(super) fn key(self) -> Key
    where
        P: Complete,
    {
        self.key
    }
}

impl<P, R> fmt::Debug for Function<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.start.key()).finish()
    }
}

impl<P> fmt::Debug for Aim<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Aim").field(&self.key).finish()
    }
}
