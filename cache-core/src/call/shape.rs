//! What a cached function returns: `Result`, `Option` and `Arc` recognised by type.
//!
//! A probe picks the most special of its traits whose pattern fits: method calls prefer the candidate that needs the
//! fewest references, and each trait is implemented one reference deeper than the next special one. The probe matches
//! constructors only, so that a type that lacks a bound is recognised first, and reported by name afterwards.

use std::{convert::Infallible, future::Future, marker::PhantomData, pin::pin, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::Address;
use crate::{
    Key, Policy,
    cache::{Cache, Chance, Loaded},
};

/// A type that the cache can keep.
#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` cannot be cached",
    label = "`{Self}` needs `#[derive(Serialize, Deserialize)]`, and must be owned, `Send`, `Sync` and `'static`",
    note = "cached values are written with serde: `#[derive(Clone, Serialize, Deserialize)]` for a type of your own",
    note = "borrowed values (`&str`) cannot be kept: return an owned one (`String`)"
)]
pub trait Cacheable: Serialize + DeserializeOwned + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Cacheable for T {}

/// A cached type of which each caller gets a copy.
#[diagnostic::on_unimplemented(
    message = "a hit hands out a clone, and `{Self}` has no `Clone`",
    label = "`{Self}` needs `#[derive(Clone)]`",
    note = "or return `Arc<{Self}>`: then all callers share one value and nothing is cloned"
)]
pub trait Cloneable: Clone {}

#[diagnostic::do_not_recommend]
impl<T: Clone> Cloneable for T {}

/// What a function returns, taken apart.
pub trait Shape {
    /// What is stored.
    type Value;
    /// What `cache_if` looks at: all of it but the `Result`.
    type Kept;
    /// The loader's error.
    type Error;
    /// What the function returns.
    type Output;
    /// Whether it has a form for "there is no such thing".
    const KNOWS_ABSENCE: bool;
}

/// A shape whose parts have what it takes.
pub trait Serve: Shape {
    /// Takes the loader's result apart: the value, whether it is to be stored, or the error.
    fn split(output: Self::Output, keep: impl FnOnce(&Self::Kept) -> bool) -> Result<Loaded<Self::Value>, Self::Error>;
    /// Puts it together again. `None`: a missing value, where the function has no `Option` to say so.
    fn join(found: Result<Option<Arc<Self::Value>>, Self::Error>) -> Option<Self::Output>;
}

/// A shape with a form for "there is no such thing".
#[diagnostic::on_unimplemented(
    message = "`negative_ttl` is for functions that return an `Option` or a `Result` of one",
    label = "this function never answers `None`"
)]
pub trait Absent {}

/// How one value is handed out.
pub trait Hold {
    /// What is stored.
    type Value;
    /// What the function returns in its place.
    type Form;
}

/// As [`Serve`], for one value.
pub trait HandOut: Hold {
    /// Into the cache.
    fn share(form: Self::Form) -> Arc<Self::Value>;
    /// Out of the cache.
    fn hand_out(value: Arc<Self::Value>) -> Self::Form;
}

macro_rules! markers {
    ($($(#[$doc:meta])* $name:ident<$($parameter:ident),*>;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<$($parameter),*>(PhantomData<fn() -> ($($parameter,)*)>);
    )*};
}

markers! {
    /// `T`, cloned for each caller.
    Owned<T>;
    /// `Arc<T>`, the same for every caller.
    Shared<T>;
    /// A value that is always there.
    Required<H>;
    /// An `Option`.
    Optional<H>;
    /// A `Result`.
    Fallible<S, E>;
}

impl<T> Hold for Owned<T> {
    type Value = T;
    type Form = T;
}

impl<T: Cloneable> HandOut for Owned<T> {
    fn share(form: T) -> Arc<T> {
        Arc::new(form)
    }
    fn hand_out(value: Arc<T>) -> T {
        Arc::unwrap_or_clone(value)
    }
}

impl<T> Hold for Shared<T> {
    type Value = T;
    type Form = Arc<T>;
}

impl<T> HandOut for Shared<T> {
    fn share(form: Arc<T>) -> Arc<T> {
        form
    }
    fn hand_out(value: Arc<T>) -> Arc<T> {
        value
    }
}

impl<H: Hold> Shape for Required<H> {
    type Value = H::Value;
    type Kept = H::Form;
    type Error = Infallible;
    type Output = H::Form;
    const KNOWS_ABSENCE: bool = false;
}

impl<H: HandOut> Serve for Required<H> {
    fn split(output: H::Form, keep: impl FnOnce(&H::Form) -> bool) -> Result<Loaded<H::Value>, Infallible> {
        let store = keep(&output);
        Ok(Loaded { value: Some(H::share(output)), store })
    }
    fn join(found: Result<Option<Arc<H::Value>>, Infallible>) -> Option<H::Form> {
        let Ok(found) = found;
        found.map(H::hand_out)
    }
}

impl<H: Hold> Shape for Optional<H> {
    type Value = H::Value;
    type Kept = Option<H::Form>;
    type Error = Infallible;
    type Output = Option<H::Form>;
    const KNOWS_ABSENCE: bool = true;
}

impl<H: HandOut> Serve for Optional<H> {
    fn split(output: Self::Output, keep: impl FnOnce(&Self::Kept) -> bool) -> Result<Loaded<H::Value>, Infallible> {
        let store = keep(&output);
        Ok(Loaded { value: output.map(H::share), store })
    }
    fn join(found: Result<Option<Arc<H::Value>>, Infallible>) -> Option<Self::Output> {
        let Ok(found) = found;
        Some(found.map(H::hand_out))
    }
}

#[diagnostic::do_not_recommend]
impl<H> Absent for Optional<H> {}
#[diagnostic::do_not_recommend]
impl<S: Absent, E> Absent for Fallible<S, E> {}

impl<S: Shape<Error = Infallible>, E> Shape for Fallible<S, E> {
    type Value = S::Value;
    type Kept = S::Kept;
    type Error = E;
    type Output = Result<S::Output, E>;
    const KNOWS_ABSENCE: bool = S::KNOWS_ABSENCE;
}

impl<S: Serve<Error = Infallible>, E> Serve for Fallible<S, E> {
    fn split(output: Self::Output, keep: impl FnOnce(&Self::Kept) -> bool) -> Result<Loaded<S::Value>, E> {
        let Ok(loaded) = S::split(output?, keep);
        Ok(loaded)
    }
    fn join(found: Result<Option<Arc<S::Value>>, E>) -> Option<Self::Output> {
        match found {
            Ok(found) => S::join(Ok(found)).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Asks what `R` is.
#[derive(Debug)]
pub struct Probe<R>(PhantomData<fn() -> R>);

impl<R> Probe<R> {
    /// The question.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R> Default for Probe<R> {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! probes {
    ($($trait:ident { $(($($parameter:ident),*) $output:ty => $shape:ty;)* })*) => {$(
        /// Answers for some types.
        pub trait $trait {
            /// The shape.
            type Shape;
            /// A call of a function of this shape.
            fn shape(&self) -> Call<Self::Shape> {
                Call(PhantomData)
            }
        }
        probes!(@ $trait $(($($parameter),*) $output => $shape;)*);
    )*};
    (@ $trait:ident $(($($parameter:ident),*) $output:ty => $shape:ty;)*) => {$(
        impl<$($parameter),*> $trait for $output {
            type Shape = $shape;
        }
    )*};
}

probes! {
    ProbeShared {
        (T, E) &&&Probe<Result<Option<Arc<T>>, E>> => Fallible<Optional<Shared<T>>, E>;
    }
    ProbeOption {
        (T, E) &&Probe<Result<Option<T>, E>> => Fallible<Optional<Owned<T>>, E>;
        (T, E) &&Probe<Result<Arc<T>, E>> => Fallible<Required<Shared<T>>, E>;
        (T) &&Probe<Option<Arc<T>>> => Optional<Shared<T>>;
    }
    ProbeResult {
        (T, E) &Probe<Result<T, E>> => Fallible<Required<Owned<T>>, E>;
        (T) &Probe<Option<T>> => Optional<Owned<T>>;
        (T) &Probe<Arc<T>> => Required<Shared<T>>;
    }
    ProbePlain {
        (T) Probe<T> => Required<Owned<T>>;
    }
}

/// Answers the [`Call`] of a function that returns the given type.
#[doc(hidden)]
#[macro_export]
macro_rules! __shape {
    ($output:ty) => {{
        #[allow(unused_imports, reason = "each type needs one of them")]
        use $crate::call::{ProbeOption as _, ProbePlain as _, ProbeResult as _, ProbeShared as _};
        (&&&&$crate::call::Probe::<$output>::new()).shape()
    }};
}

/// Answers the [`Call`] of a function whose entries are shared.
#[doc(hidden)]
#[macro_export]
macro_rules! __shape_of {
    ($entries:expr) => {{
        #[allow(unused_imports, reason = "each type needs one of them")]
        use $crate::call::{ProbeOption as _, ProbePlain as _, ProbeResult as _, ProbeShared as _};
        (&&&&$entries.returns()).shape()
    }};
}

/// Gives an async block its output type, for `?`, early returns and coercions in it.
#[doc(hidden)]
#[macro_export]
macro_rules! __returns {
    ($output:ty) => {
        #[allow(unreachable_code, clippy::all, clippy::pedantic, reason = "never runs: it tells the compiler a type")]
        if let ::core::option::Option::Some(output) = ::core::option::Option::None::<$output> {
            return output;
        }
    };
}

/// A call of a cached function whose return type has the shape `S`.
#[derive(Debug)]
pub struct Call<S>(PhantomData<fn() -> S>);

impl<S: Shape> Call<S> {
    /// In this cache, with this policy.
    #[inline]
    pub fn with<'a>(self, cache: &'a Cache, policy: &'a Policy) -> Begun<'a, S> {
        Begun { cache, policy, chance: Chance::default(), shape: PhantomData }
    }

    /// Fails to compile for functions that never answer `None`.
    #[must_use]
    pub fn negative(self) -> Self
    where
        S: Absent,
    {
        self
    }
}

/// A call that knows where it asks.
#[derive(Debug)]
pub struct Begun<'a, S> {
    cache: &'a Cache,
    policy: &'a Policy,
    chance: Chance,
    shape: PhantomData<fn() -> S>,
}

impl<S: Shape> Begun<'_, S> {
    /// The answer, where memory has it: nothing of the load is there yet.
    ///
    /// # Errors
    ///
    /// The key, to go on with. It is built in here, so that a call that ends here moves it nowhere.
    #[inline]
    #[allow(clippy::result_large_err, reason = "the long way costs more than this move")]
    pub fn hit(&mut self, address: &impl Address) -> Result<S::Output, Key>
    where
        S: Serve,
        S::Value: Cacheable,
    {
        // In this place from its first byte on: returned from a function of its own it would be copied.
        let mut key = address.start().key();
        address.add_to(&mut key);
        match self.cache.hit(&key, self.policy, &mut self.chance).and_then(|found| S::join(Ok(found))) {
            Some(output) => Ok(output),
            None => Err(key),
        }
    }

    /// Serves the call: from the cache, else by `load`.
    pub async fn run<F>(self, key: &Key, load: F) -> S::Output
    where
        S: Serve,
        S::Value: Cacheable,
        F: Future<Output = S::Output>,
    {
        self.run_if(key, |_| true, load).await
    }

    /// As [`run`](Self::run), and stores only what `keep` says.
    pub async fn run_if<F>(self, key: &Key, keep: impl FnOnce(&S::Kept) -> bool, load: F) -> S::Output
    where
        S: Serve,
        S::Value: Cacheable,
        F: Future<Output = S::Output>,
    {
        let Self { cache, policy, chance, .. } = self;
        let mut load = pin!(load);
        let found = cache.fetch_slowly(key, policy, chance, async { S::split(load.as_mut().await, keep) }).await;
        match S::join(found) {
            Some(output) => output,
            // A negative entry of another release, in which the function returned an `Option`. The load has not begun.
            None => load.await,
        }
    }
}

/// Leaves the function with what is there already, or goes on with the key.
#[doc(hidden)]
#[macro_export]
macro_rules! __return_ok {
    ($found:expr) => {
        match $found {
            ::core::result::Result::Ok(found) => return found,
            ::core::result::Result::Err(key) => key,
        }
    };
}
