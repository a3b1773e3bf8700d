//! What a batch must know of the function whose entries it shares.
//!
//! It is part of the function's address, where there are no arguments: only what is known without them can be shared.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Expr, Ident};

use super::{
    cached::{Parameter, Settings},
    options::Options,
};
use crate::{signature::mentions_word, template::Template};

/// What makes the entries of a function, but for the arguments.
pub(crate) struct Share {
    /// What the function returns, as the companion states it.
    pub(crate) output: TokenStream,
    /// How each tag is made from the key.
    pub(crate) tags: Vec<TokenStream>,
}

impl Share {
    /// `None` where a call of the function is needed to know it. `unnamed`: type parameters that the companion does not have.
    pub(super) fn new(
        options: &Options,
        policy: &Settings,
        parameters: &[Parameter],
        output: TokenStream,
        unnamed: &[Ident],
    ) -> Option<Self> {
        let is_fixed = policy.is_known
            && options.cache_if.is_none()
            && !unnamed.iter().any(|name| mentions_word(&output, &name.to_string()));
        if !is_fixed {
            return None;
        }
        let tags = options.tags.iter().flatten().map(|tag| from_key(tag, parameters)).collect::<Option<_>>()?;
        Some(Self { output, tags })
    }
}

/// A tag by the segments of the key, counted from the last.
fn from_key(tag: &Template, parameters: &[Parameter]) -> Option<TokenStream> {
    let (text, rest) = tag.pieces();
    let rest = rest.iter().map(|(expr, after)| {
        let Expr::Path(path) = expr else { return None };
        let name = path.path.get_ident()?;
        // What the caller chooses the type of is encoded with its kind in the key, and without it in a tag.
        let is_it = |parameter: &Parameter| parameter.argument.as_ref() == Some(name) && !parameter.of_any_type;
        let back = parameters.len() - 1 - parameters.iter().position(is_it)?;
        Some(quote!((#back, #after)))
    });
    let rest = rest.collect::<Option<Vec<_>>>()?;
    Some(quote!((#text, &[#(#rest),*])))
}
