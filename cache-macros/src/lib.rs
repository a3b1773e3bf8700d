//! The attributes of staleproof.
//!
//! Use them through the facade package `staleproof`, which documents them by example. Each attribute goes one way:
//! `args` reads what is written in it, `item` reads what it stands on, `model` decides whether that makes sense
//! and collects every complaint, `expand` writes the code and cannot fail. If there are complaints, `fallback` emits
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
/// | option | meaning | default |
/// |---|---|---|
/// | `ttl` | `"15m"`, `"1h 30m"`, `"250ms"`, an integer of seconds, or a `Duration` expression | required |
/// | `key_prefix` | first segment of the key, unique in the program | module path, type and name |
/// | `key(a, b.c)` | exactly these expressions make the key | all arguments but `self` |
/// | `skip(x)` | all arguments but these; a type parameter or `Self` leaves that type out | |
/// | `tags("owner:{owner_id}")` | labels that cut across functions; `"a:{}", expr` for what is no variable or field | none |
/// | `cache = expr` | where the cache is | `self.cache`, in functions `Cache::global()` |
/// | `cache_if = \|value\| bool` | stores only these; looks at what is in the `Ok` | all |
/// | `negative_ttl` | the TTL of `None` | `ttl` |
/// | `jitter = 0.1` | chance takes up to this share off each TTL | 0.1 |
/// | `refresh_ahead`, `refresh_ahead = 1.5` | one caller refreshes early while the others keep the value | off |
/// | `stale_if_error = "1h"` | serves a value that expired no longer ago, when the load fails; never an invalidated one | off |
/// | `l1 = "off"`, `"validated"`, `"leased"`, `"1s"` | copies in the memory of each instance: none; each hit asks whether it still holds; no round trip, and just as strict; no round trip, and what others invalidate is served for so long at most | the cache's |
/// | `pin` | keeps values in the memory of each instance until they expire or are invalidated, whatever else comes; up to half of the memory limit | off |
/// | `version = 2` | bump to drop the function's old entries | 1 |
/// | `verify = 0.001` | that share of the hits is loaded as well and compared: finds writes that forget an invalidation | the cache's |
/// | `batch`, `batch = Self::user` | the function takes a slice of ids and answers a map or a list: what is stored is read at once, and the body gets the ids that are missing; with a name the entries are those of that function | |
/// | `crate = path` | where the crate is, if not at `::staleproof` | |
///
/// `Result`, `Option` and `Arc` in the return type are recognised by type, through any alias. Only an `Ok` is stored. A value
/// needs serde's traits, and `Clone` unless it comes in an `Arc`.
///
/// # Generics
///
/// Functions of two types never share an entry: the type parameters and a generic `Self` become a segment after the prefix.
/// A target names the types where they cannot be inferred: `Self::find::<User>(7)`. An argument whose whole type is a
/// parameter (`id: impl KeyPart`) needs none: it writes its kind into the key. There, all integers are of one kind, and so are
/// `None`s and empty lists.
#[proc_macro_attribute]
pub fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::cached(args.into(), &item.into()).into()
}

/// Invalidates cache entries after an async function has returned `Ok` (or any value, for a non-`Result`), before its caller
/// sees the result.
///
/// | target | hits |
/// |---|---|
/// | `Path::method(args)` | that entry; the arguments are checked against the cached function's |
/// | `Path::method(arg, ..)`, `Path::method(..)` | all entries that begin so, in one step |
/// | `tag("owner:{new.owner_id}")` | every entry with that tag |
/// | `"contract_employees:*"` | every entry whose key matches the glob |
/// | `\|ok\| target, target...` | the same, computed from the `Ok` value; these come last |
///
/// Arguments of targets are evaluated before the body, which may move what they name; after `|ok|`, after it. A place
/// (`new.owner_id`) is borrowed.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `cache = expr` | where the cache is | `self.cache`, in functions `Cache::global()` |
/// | `on = "always"` | after an `Err`, too | `"ok"` |
/// | `hold = "10s"` | quarantines the targets from before the body until after it, and for that long if the process dies in between: nothing is left then that is older than the write. While the store is out of reach there is none, unless `unreachable` refuses | off |
/// | `linger = "2s"` | keeps a `hold` up for that long after the body: readers may load from a lagging replica meanwhile, and nothing is stored | off |
/// | `unreachable = "refuse"` | the body does not run while the store is out of reach; the method's error is made from `Unavailable`. The store may still be lost while the body runs: with `hold` as well, the targets are in quarantine then | `"journal"` |
/// | `crate = path` | where the crate is | `::staleproof` |
///
/// Several attributes may stand on one function. Beside [`macro@cached`] they belong to the body: a hit invalidates nothing. Inside a
/// `transaction` all wait for the commit.
///
/// # Cancellation
///
/// Dropping the future after the body finished loses no invalidation.
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
