//! Entries of one function that another one shares: a batch those of the single call.
//!
//! What makes an entry is in one place then, the attribute of the single call. The batch has it from the address of that
//! function, so it must be known without running the function: its times are literals, and its tags name arguments of the
//! key, which stand in the key already.

use std::marker::PhantomData;

use super::{
    function::{Aim, Complete, Fits, Function},
    shape::Probe,
};
use crate::{Key, Policy};

/// What a function returns, on the address of one whose entries can be shared.
pub struct Returns<R>(PhantomData<fn() -> R>);

/// On the address of a function that keeps its entries to itself.
pub struct Apart(());

/// Whether the entries of a function can be shared. `O` is what it returns.
#[diagnostic::on_unimplemented(
    message = "a batch cannot share the entries of this function",
    label = "what makes its entries is not known without a call of it",
    note = "it can be shared if the times and numbers in its attribute are literals, its tags name arguments that are in its key, and \
            it has no `cache_if`",
    note = "or give the batch entries of its own: `#[cached(batch, ttl = \"15m\")]`"
)]
pub trait Shareable<O> {}

impl<R> Shareable<R> for Returns<R> {}

/// A tag: fixed text, then segments of the key, counted from its last, each with the text after it.
pub type TagTemplate = (&'static str, &'static [(usize, &'static str)]);

/// What the entries of a function have in common.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    policy: Policy,
    tags: &'static [TagTemplate],
}

impl Terms {
    /// As they are written in the attribute.
    pub const fn new(policy: Policy, tags: &'static [TagTemplate]) -> Self {
        Self { policy, tags }
    }

    /// Adds the tags to a key with all arguments: a segment in a tag is encoded as it is in the key.
    pub(super) fn add_tags(&self, key: &mut Key) {
        for (text, rest) in self.tags {
            key.add_tag_of_segments(text, rest);
        }
    }
}

/// The address of a function whose entries are shared, by who shares them.
pub struct Entries<P, O> {
    aim: Aim<P>,
    terms: &'static Terms,
    output: PhantomData<fn() -> O>,
}

/// Shares the entries of a function.
///
/// # Panics
///
/// Never: what is shareable has terms.
pub fn entries_of<P, R: Shareable<O>, O>(function: Function<P, R>) -> Entries<P, O> {
    let terms = function.site().terms().expect("the address of what is shareable is that of a site with terms");
    Entries { aim: function.aim(), terms, output: PhantomData }
}

impl<P, O> Entries<P, O> {
    /// The same, to go on from with the arguments of a call.
    #[must_use]
    pub fn at(&self) -> Self {
        Self { aim: self.aim.copy(), terms: self.terms, output: PhantomData }
    }

    /// Gives the next argument.
    #[must_use]
    pub fn arg<A: Fits<P>>(self, argument: A) -> Entries<A::Rest, O> {
        Entries { aim: self.aim.arg(argument), terms: self.terms, output: PhantomData }
    }

    /// The key of the call with these arguments.
    pub fn key(self) -> Key
    where
        P: Complete,
    {
        let mut key = self.aim.key();
        self.terms.add_tags(&mut key);
        key
    }

    /// How the entries live.
    pub fn policy(&self) -> Policy {
        self.terms.policy
    }

    /// What the function returns, to be recognised by type.
    #[allow(clippy::unused_self, reason = "it is asked for its type")]
    pub fn returns(&self) -> Probe<O> {
        Probe::new()
    }
}
