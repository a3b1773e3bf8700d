//! A cached function as an address: its key so far, and the parameters still to be given.

use std::{fmt, fmt::Write as _, marker::PhantomData};

use super::{
    argument::{Computed, KeyArg},
    place,
};
use crate::{Key, Target, registry::Site};

/// A cached function, addressed. `P` lists the parameters of its key that are still to be given.
///
/// Covariant in `P`: a shorter-lived argument may stand for a parameter with a longer lifetime, since nothing of it is
/// kept but its encoding.
pub struct Function<P> {
    key: Key,
    parameters: PhantomData<fn() -> P>,
}

/// A parameter of type `Head`, then `Rest`.
pub struct Needs<Head: ?Sized, Rest = Nothing>(PhantomData<fn() -> (Rest, *const Head)>);

/// No more parameters.
pub struct Nothing(());

/// Parameters that are not known, because the attribute of the cached function has an error of its own.
pub struct Unchecked(());

/// A list of parameters that takes one more argument.
#[diagnostic::on_unimplemented(
    message = "too many arguments: the key of this cached function has no place for this one",
    label = "one argument too many",
    note = "the arguments of a target are those of the cached function, without `self` and without what its `skip(...)` leaves out"
)]
pub trait Takes {
    /// The type of the next parameter.
    type Head: ?Sized;
    /// The parameters after it.
    type Rest;
}

impl<Head: ?Sized, Rest> Takes for Needs<Head, Rest> {
    type Head = Head;
    type Rest = Rest;
}

#[diagnostic::do_not_recommend]
impl Takes for Unchecked {
    type Head = Computed;
    type Rest = Self;
}

/// A list of parameters with nothing left to be given.
#[diagnostic::on_unimplemented(
    message = "too few arguments: the key of this cached function goes on with `{Self}`",
    label = "add what is missing, or `..` at the end to invalidate all entries that begin with these arguments"
)]
pub trait Complete {}

impl Complete for Nothing {}

#[diagnostic::do_not_recommend]
impl Complete for Unchecked {}

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

impl<P> Function<P> {
    /// The function of `site`. `closure` is the type name of a closure made in it, or empty for `skip(Self)`; `types` are
    /// its own type and const parameters.
    ///
    /// What is generic gets a segment of its own after the prefix: functions of two types share nothing.
    pub fn new(site: &'static Site, closure: &str, types: &[&dyn fmt::Display]) -> Self {
        let mut key = Key::new(site.prefix());
        let owner = if site.in_generic_type() { place::owner(closure) } else { "" };
        if !owner.is_empty() || !types.is_empty() {
            let mut name = owner.to_owned();
            for parameter in types {
                write!(name, ", {parameter}").expect("writing to a String succeeds");
            }
            key = key.arg(&place::segment(&name));
        }
        Self { key, parameters: PhantomData }
    }

    /// Gives the next argument.
    #[must_use]
    pub fn arg<A>(self, argument: A) -> Function<P::Rest>
    where
        P: Takes,
        A: KeyArg<P::Head>,
    {
        Function { key: argument.add_to(self.key), parameters: PhantomData }
    }

    /// The key of the call with these arguments.
    pub fn key(self) -> Key
    where
        P: Complete,
    {
        self.key
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

impl<P> fmt::Debug for Function<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.key).finish()
    }
}
