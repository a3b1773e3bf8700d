//! What a batch method returns, and how its ids come to their values.
//!
//! As in [`shape!`](crate::__shape), the return type is recognised by its constructors, so that aliases work and what lacks a
//! bound is reported by name.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    future::Future,
    hash::{BuildHasher, Hash},
    marker::PhantomData,
    sync::Arc,
};

use super::shape::{Cacheable, Fallible, HandOut, Hold, Owned, Probe, Shape, Shared};
use crate::{
    Key, Policy,
    cache::{Cache, Loaded},
};

/// An id: the element of the slice that makes a method a batch.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an id of a batch: it has no `Clone`",
    label = "`{Self}` needs `#[derive(Clone)]`",
    note = "the body of a batch is given the ids that are missing, in a slice of their own"
)]
pub trait Id: Clone {}

#[diagnostic::do_not_recommend]
impl<I: Clone> Id for I {}

/// An id that a map is made by.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of the map that this batch returns",
    label = "`{Self}` needs `#[derive(Clone, PartialEq, Eq, Hash)]`",
    note = "or return `Vec<Option<_>>`, in the order of the ids, which needs `Clone` only"
)]
pub trait HashedId: Hash + Eq + Clone {}

#[diagnostic::do_not_recommend]
impl<I: Hash + Eq + Clone> HashedId for I {}

/// An id that a sorted map is made by.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of the map that this batch returns",
    label = "`{Self}` needs `#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]`",
    note = "or return `Vec<Option<_>>`, in the order of the ids, which needs `Clone` only"
)]
pub trait SortedId: Ord + Clone {}

#[diagnostic::do_not_recommend]
impl<I: Ord + Clone> SortedId for I {}

/// An id of the type that the map has: implemented by each type for itself.
#[diagnostic::on_unimplemented(
    message = "the ids of this batch are `{Self}`, and the keys of the map that it returns are `{K}`",
    label = "these must be of one type"
)]
pub trait IdOf<K> {
    /// The same.
    fn id(&self) -> &K;
}

impl<K> IdOf<K> for K {
    fn id(&self) -> &K {
        self
    }
}

/// Implemented by nothing: a type that a batch returns and from which no id has its value.
#[diagnostic::on_unimplemented(
    message = "a batch returns a value for each id, and from `{Self}` nobody can tell which is whose",
    label = "write `HashMap<Id, Value>`, `BTreeMap<Id, Value>` or `Vec<Option<Value>>`, or a `Result` of one of them",
    note = "a `Vec<Option<Value>>` is in the order of the ids, with `None` for those that do not exist"
)]
pub trait AnswersEachId {}

/// What there is for each of some ids, or the loader's error.
pub type Found<S> = Result<Vec<Option<Arc<<S as BatchShape>::Value>>>, <S as BatchShape>::Error>;

/// What a batch returns, taken apart.
pub trait BatchShape {
    /// What is stored for an id.
    type Value;
    /// What `cache_if` looks at: what there is for an id.
    type Kept;
    /// The loader's error.
    type Error;
    /// What the method returns.
    type Output;
}

/// A shape whose parts have what it takes for ids of type `I`.
pub trait ServeBatch<I>: BatchShape {
    /// Takes the body's answer apart: what it says of each of these ids, in order.
    fn split<'a>(
        asked: impl ExactSizeIterator<Item = &'a I>,
        output: Self::Output,
        keep: impl FnMut(&Self::Kept) -> bool,
    ) -> Result<Vec<Loaded<Self::Value>>, Self::Error>
    where
        I: 'a;
    /// Puts it together again.
    fn join(ids: &[I], found: Found<Self>) -> Self::Output;
}

macro_rules! markers {
    ($($(#[$doc:meta])* $name:ident<$($parameter:ident),*>;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<$($parameter),*>(PhantomData<fn() -> ($($parameter,)*)>);
    )*};
}

markers! {
    /// A `HashMap`.
    Hashed<K, S, H>;
    /// A `BTreeMap`.
    Sorted<K, H>;
    /// A `Vec` of `Option`s in the order of the ids.
    Listed<H>;
    /// Anything else.
    Other<R>;
}

/// A value that may be there, on its way into the cache.
fn into_cache<H: HandOut>(form: Option<H::Form>, keep: &mut impl FnMut(&Option<H::Form>) -> bool) -> Loaded<H::Value> {
    let store = keep(&form);
    Loaded { value: form.map(H::share), store }
}

/// The values that are there, with their ids.
fn by_id<'a, K: Clone + 'a, I: IdOf<K>, H: HandOut>(
    ids: &'a [I],
    found: Vec<Option<Arc<H::Value>>>,
) -> impl Iterator<Item = (K, H::Form)> {
    // The same id twice is one entry of the map, made by the last.
    ids.iter().zip(found).filter_map(|(id, value)| Some((id.id().clone(), H::hand_out(value?))))
}

macro_rules! shapes {
    ($($name:ident<$($parameter:ident),*> of $output:ty;)*) => {$(
        impl<$($parameter,)* H: Hold> BatchShape for $name<$($parameter,)* H> {
            type Value = H::Value;
            type Kept = Option<H::Form>;
            type Error = Infallible;
            type Output = $output;
        }
    )*};
}

shapes! {
    Hashed<K, S> of HashMap<K, H::Form, S>;
    Sorted<K> of BTreeMap<K, H::Form>;
    Listed<> of Vec<Option<H::Form>>;
}

impl<K: HashedId, I: IdOf<K>, S: BuildHasher + Default, H: HandOut> ServeBatch<I> for Hashed<K, S, H> {
    fn split<'a>(
        asked: impl ExactSizeIterator<Item = &'a I>,
        mut output: Self::Output,
        mut keep: impl FnMut(&Self::Kept) -> bool,
    ) -> Result<Vec<Loaded<H::Value>>, Infallible>
    where
        I: 'a,
    {
        Ok(asked.map(|id| into_cache::<H>(output.remove(id.id()), &mut keep)).collect())
    }
    fn join(ids: &[I], found: Found<Self>) -> Self::Output {
        let Ok(found) = found;
        by_id::<K, I, H>(ids, found).collect()
    }
}

impl<K: SortedId, I: IdOf<K>, H: HandOut> ServeBatch<I> for Sorted<K, H> {
    fn split<'a>(
        asked: impl ExactSizeIterator<Item = &'a I>,
        mut output: Self::Output,
        mut keep: impl FnMut(&Self::Kept) -> bool,
    ) -> Result<Vec<Loaded<H::Value>>, Infallible>
    where
        I: 'a,
    {
        Ok(asked.map(|id| into_cache::<H>(output.remove(id.id()), &mut keep)).collect())
    }
    fn join(ids: &[I], found: Found<Self>) -> Self::Output {
        let Ok(found) = found;
        by_id::<K, I, H>(ids, found).collect()
    }
}

impl<I, H: HandOut> ServeBatch<I> for Listed<H> {
    fn split<'a>(
        _asked: impl ExactSizeIterator<Item = &'a I>,
        output: Self::Output,
        mut keep: impl FnMut(&Self::Kept) -> bool,
    ) -> Result<Vec<Loaded<H::Value>>, Infallible>
    where
        I: 'a,
    {
        Ok(output.into_iter().map(|form| into_cache::<H>(form, &mut keep)).collect())
    }
    fn join(_ids: &[I], found: Found<Self>) -> Self::Output {
        let Ok(found) = found;
        found.into_iter().map(|value| value.map(H::hand_out)).collect()
    }
}

impl<S: BatchShape<Error = Infallible>, E> BatchShape for Fallible<S, E> {
    type Value = S::Value;
    type Kept = S::Kept;
    type Error = E;
    type Output = Result<S::Output, E>;
}

impl<I, S: ServeBatch<I> + BatchShape<Error = Infallible>, E> ServeBatch<I> for Fallible<S, E> {
    fn split<'a>(
        asked: impl ExactSizeIterator<Item = &'a I>,
        output: Self::Output,
        keep: impl FnMut(&Self::Kept) -> bool,
    ) -> Result<Vec<Loaded<S::Value>>, E>
    where
        I: 'a,
    {
        let Ok(loaded) = S::split(asked, output?, keep);
        Ok(loaded)
    }
    fn join(ids: &[I], found: Found<Self>) -> Self::Output {
        found.map(|found| S::join(ids, Ok(found)))
    }
}

impl<R> BatchShape for Other<R> {
    type Value = ();
    type Kept = ();
    type Error = Infallible;
    type Output = R;
}

impl<I, R: AnswersEachId> ServeBatch<I> for Other<R> {
    fn split<'a>(
        _asked: impl ExactSizeIterator<Item = &'a I>,
        _output: R,
        _keep: impl FnMut(&()) -> bool,
    ) -> Result<Vec<Loaded<()>>, Infallible>
    where
        I: 'a,
    {
        unreachable!("no type answers so")
    }
    fn join(_ids: &[I], _found: Found<Self>) -> R {
        unreachable!("no type answers so")
    }
}

macro_rules! probes {
    ($($trait:ident { $(($($parameter:ident),*) $output:ty => $shape:ty;)* })*) => {$(
        /// Answers for some types.
        pub trait $trait {
            /// The shape.
            type Shape;
            /// A call of a batch method of this shape.
            fn batch(&self) -> Batch<Self::Shape> {
                Batch { shape: PhantomData, keeps_absence: true }
            }
        }
        $(impl<$($parameter),*> $trait for $output {
            type Shape = $shape;
        })*
    )*};
}

probes! {
    ProbeSharedBatch {
        (K, T, S, E) &&Probe<Result<HashMap<K, Arc<T>, S>, E>> => Fallible<Hashed<K, S, Shared<T>>, E>;
        (K, T, E) &&Probe<Result<BTreeMap<K, Arc<T>>, E>> => Fallible<Sorted<K, Shared<T>>, E>;
        (T, E) &&Probe<Result<Vec<Option<Arc<T>>>, E>> => Fallible<Listed<Shared<T>>, E>;
        (K, T, S) &&Probe<HashMap<K, Arc<T>, S>> => Hashed<K, S, Shared<T>>;
        (K, T) &&Probe<BTreeMap<K, Arc<T>>> => Sorted<K, Shared<T>>;
        (T) &&Probe<Vec<Option<Arc<T>>>> => Listed<Shared<T>>;
    }
    ProbeOwnedBatch {
        (K, T, S, E) &Probe<Result<HashMap<K, T, S>, E>> => Fallible<Hashed<K, S, Owned<T>>, E>;
        (K, T, E) &Probe<Result<BTreeMap<K, T>, E>> => Fallible<Sorted<K, Owned<T>>, E>;
        (T, E) &Probe<Result<Vec<Option<T>>, E>> => Fallible<Listed<Owned<T>>, E>;
        (K, T, S) &Probe<HashMap<K, T, S>> => Hashed<K, S, Owned<T>>;
        (K, T) &Probe<BTreeMap<K, T>> => Sorted<K, Owned<T>>;
        (T) &Probe<Vec<Option<T>>> => Listed<Owned<T>>;
    }
    ProbeNoBatch {
        (R) Probe<R> => Other<R>;
    }
}

/// Answers the [`Batch`] of a method that returns the given type.
#[doc(hidden)]
#[macro_export]
macro_rules! __batch {
    ($output:ty) => {{
        #[allow(unused_imports, reason = "each type needs one of them")]
        use $crate::call::{ProbeNoBatch as _, ProbeOwnedBatch as _, ProbeSharedBatch as _};
        (&&&$crate::call::Probe::<$output>::new()).batch()
    }};
}

/// The key of each id.
pub fn keys<I>(ids: &[I], key: impl FnMut(&I) -> Key) -> Vec<Key> {
    ids.iter().map(key).collect()
}

/// The body of a batch method: tells the compiler that it takes ids such as these.
pub fn load<I, L: FnMut(Vec<I>) -> F, F>(_ids: &[I], load: L) -> L {
    load
}

/// A copy of an argument of a batch method, for one run of its body.
pub fn again<A: Again>(argument: &A) -> A {
    argument.clone()
}

/// Gives one run of the body arguments of its own, under the same names.
#[doc(hidden)]
#[macro_export]
macro_rules! __again {
    ($($argument:pat_param = $given:expr),*) => {
        $(
            #[allow(unused_variables, reason = "the body need not use what the key does")]
            let $argument = $crate::call::again($given);
        )*
    };
}

/// An argument for a body that may run more than once.
#[diagnostic::on_unimplemented(
    message = "an argument of type `{Self}` cannot be given to a body that may run more than once",
    label = "`{Self}` has no `Clone`",
    note = "the body of a batch runs again for ids that others were loading and did not get: take a shared reference"
)]
pub trait Again: Clone {}

#[diagnostic::do_not_recommend]
impl<A: Clone> Again for A {}

/// The values of the entries that a batch shares: implemented by each type for itself.
#[diagnostic::on_unimplemented(
    message = "the entries of this function hold `{Self}`, and this batch would put `{V}` there",
    label = "the batch must have values of type `{Self}`, or entries of its own: `batch, ttl = \"15m\"`"
)]
pub trait SameValue<V> {}

impl<V> SameValue<V> for V {}

/// A call of a batch method whose return type has the shape `S`.
#[derive(Debug)]
pub struct Batch<S> {
    shape: PhantomData<fn() -> S>,
    keeps_absence: bool,
}

impl<S: BatchShape> Batch<S> {
    /// Shares the entries of a function of this shape. Where it cannot say that there is no such thing, that is not kept.
    #[must_use]
    pub fn sharing<O: Shape>(self, _function: super::shape::Call<O>) -> Self
    where
        O::Value: SameValue<S::Value>,
    {
        Self { keeps_absence: O::KNOWS_ABSENCE, ..self }
    }

    /// Serves the call: from the cache, and by `load` what is missing there.
    pub async fn run<I, L, F>(self, cache: &Cache, keys: Vec<Key>, ids: &[I], policy: &Policy, load: L) -> S::Output
    where
        S: ServeBatch<I>,
        S::Value: Cacheable,
        I: Id,
        L: FnMut(Vec<I>) -> F,
        F: Future<Output = S::Output>,
    {
        self.run_if(cache, keys, ids, policy, |_| true, load).await
    }

    /// As [`run`](Self::run), and stores only what `keep` says.
    pub async fn run_if<I, L, F>(
        self,
        cache: &Cache,
        keys: Vec<Key>,
        ids: &[I],
        policy: &Policy,
        keep: impl Fn(&S::Kept) -> bool,
        mut load: L,
    ) -> S::Output
    where
        S: ServeBatch<I>,
        S::Value: Cacheable,
        I: Id,
        L: FnMut(Vec<I>) -> F,
        F: Future<Output = S::Output>,
    {
        let (keep, keeps_absence) = (&keep, self.keeps_absence);
        let load = |missing: Vec<usize>| {
            let loading = load(missing.iter().map(|&place| ids[place].clone()).collect());
            async move {
                let mut loaded = S::split(missing.iter().map(|&place| &ids[place]), loading.await, keep)?;
                for loaded in &mut loaded {
                    loaded.store &= keeps_absence || loaded.value.is_some();
                }
                Ok(loaded)
            }
        };
        // On the heap: it is large, and whoever calls this is not to be.
        S::join(ids, Box::pin(cache.fetch_batch(&keys, policy, load)).await)
    }
}
