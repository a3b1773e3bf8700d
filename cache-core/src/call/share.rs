//! Entries of one function that another one shares: a batch those of the single call.
//!
//! What makes an entry is in one place then, the attribute of the single call. The batch has it from the address of that
//! function, so it must be known without running the function: its times are literals, and its tags name arguments of the
//! key, which stand in the key already.

use std::marker::PhantomData;

use super::{
    function::{Complete, Function},
    shape::Probe,
};
use crate::{Key, Policy, Tag, key::SEPARATOR};

/// What a function returns, on the address of one whose entries can be shared.
pub struct Returns<R>(PhantomData<fn() -> R>);

/// On the address of a function that keeps its entries to itself.
pub struct Apart(());

/// Whether the entries of a function can be shared.
#[diagnostic::on_unimplemented(
    message = "a batch cannot share the entries of this function",
    label = "what makes its entries is not known without a call of it",
    note = "it can be shared if the times and numbers in its attribute are literals, its tags name arguments that are in its key, and \
            it has no `cache_if`",
    note = "or give the batch entries of its own: `#[cached(batch, ttl = \"15m\")]`"
)]
pub trait Shareable {
    /// What the function returns.
    type Output;
}

impl<R> Shareable for Returns<R> {
    type Output = R;
}

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

    fn tags_of(&self, key: &Key) -> Vec<Tag> {
        self.tags.iter().map(|template| tag(key, template)).collect()
    }
}

/// A segment in a tag is encoded as it is in the key.
fn tag(key: &Key, (text, rest): &TagTemplate) -> Tag {
    let mut tag = Tag::new(text).as_str().to_owned();
    for (back, after) in *rest {
        tag.push_str(key.as_str().rsplit(SEPARATOR).nth(*back).unwrap_or_default());
        tag.push_str(Tag::new(after).as_str());
    }
    Tag::from_encoded(tag)
}

impl<P, R: Shareable> Function<P, R> {
    /// How its entries live.
    ///
    /// # Panics
    ///
    /// Never: what is shareable has terms.
    pub fn policy(&self) -> Policy {
        self.terms().policy
    }

    /// What it returns, to be recognised by type.
    #[allow(clippy::unused_self, reason = "it is asked for its type")]
    pub fn returns(&self) -> Probe<R::Output> {
        Probe::new()
    }

    /// The key of the call with these arguments, with its tags.
    pub fn tagged_key(self) -> Key
    where
        P: Complete,
    {
        let terms = *self.terms();
        let key = self.key();
        terms.tags_of(&key).into_iter().fold(key, Key::tag)
    }

    fn terms(&self) -> &'static Terms {
        self.site().terms().expect("the address of what is shareable is that of a site with terms")
    }
}

impl<P, R> Function<P, R> {
    /// The same address, for parameters of other types that are encoded alike.
    pub fn alias<Q>(self) -> Function<Q> {
        self.readdressed()
    }
}
