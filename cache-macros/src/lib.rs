//! The attributes of staleproof.
//!
//! Use them through the facade package `staleproof`, which documents them by example. Each attribute goes one way:
//! [`args`] reads what is written in it, [`item`] reads what it stands on, [`model`] decides whether that makes sense
//! and collects every complaint, [`expand`] writes the code and cannot fail. If there are complaints, [`fallback`] emits
//! them beside the user's item as it was, so that one mistake does not look like twenty.

mod args;
mod derive;
mod duration;
mod errors;
mod expand;
mod fallback;
mod item;
mod model;
mod nearest;
mod signature;
mod template;

use proc_macro::TokenStream;

/// Serves calls of an async function from the cache, and runs its body only when the cache has no answer.
///
/// See the front page of `staleproof` for the options.
#[proc_macro_attribute]
pub fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::cached(args.into(), &item.into()).into()
}

/// Invalidates cache entries after an async function has returned `Ok`, before its caller sees the result.
///
/// See the front page of `staleproof` for targets and options.
#[proc_macro_attribute]
pub fn invalidates(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::invalidates(args.into(), &item.into()).into()
}

/// Stands on an impl block of a trait whose methods carry [`macro@cached`], above `#[async_trait]` if there is one.
///
/// A cached method has a companion beside it, by which targets name it, and a trait impl has no place for that. Without
/// this attribute the compiler says that a method `__cached_...` is not a member of the trait.
#[proc_macro_attribute]
pub fn cached_impl(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::cached_impl(args.into(), &item.into()).into()
}

/// The targets of [`macro@invalidates`] as a `Vec<Target>`, for `Cache::invalidate`.
#[proc_macro]
pub fn keys(targets: TokenStream) -> TokenStream {
    expand::keys(targets.into()).into()
}

/// Makes a struct or an enum usable as an argument in keys.
///
/// A newtype encodes as what it wraps, other structs as the tuple of their fields, enums by the names of their variants.
#[proc_macro_derive(KeyPart, attributes(key))]
pub fn key_part(input: TokenStream) -> TokenStream {
    derive::expand(input.into()).into()
}

#[cfg(test)]
mod tests;
