//! The primitives that concurrent code here is built on: the standard ones, or under the feature `__shuttle`, which
//! only this crate's model tests use, ones whose schedule is explored.

#[cfg(not(feature = "__shuttle"))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

#[cfg(feature = "__shuttle")]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

/// Locks, and goes on after a panic of another holder: what our locks guard is consistent at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
