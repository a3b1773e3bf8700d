//! Values as a store in this process holds them: the very object that callers share.
//!
//! Absence is an object too, of a kind of its own for each type: what was stored as one type is never taken for another.

use std::{any::Any, marker::PhantomData, sync::Arc};

/// A value of some type, or its absence.
pub(super) type Object = Arc<dyn Any + Send + Sync>;

/// What is known of a value: the value, or that there is none.
pub(crate) type Known<T> = Option<Arc<T>>;

/// Stands for a `T` that is known to be absent.
struct Absent<T>(PhantomData<fn() -> T>);

pub(super) fn of<T: Send + Sync + 'static>(value: Option<&Arc<T>>) -> Object {
    match value {
        Some(value) => Arc::clone(value) as Object,
        None => Arc::new(Absent::<T>(PhantomData)),
    }
}

/// The value or its absence; `None` if it is one of another type.
#[inline]
pub(super) fn take<T: Send + Sync + 'static>(object: Object) -> Option<Known<T>> {
    match object.downcast::<T>() {
        Ok(value) => Some(Some(value)),
        Err(other) => other.is::<Absent<T>>().then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_the_same_and_absence_as_absence_of_its_type_only() {
        let value = Arc::new(7_u32);
        let back = take::<u32>(of(Some(&value))).flatten().expect("a u32");
        assert!(Arc::ptr_eq(&back, &value));
        assert!(take::<u64>(of(Some(&value))).is_none());
        assert_eq!(take::<u32>(of::<u32>(None)), Some(None));
        assert!(take::<u64>(of::<u32>(None)).is_none());
    }
}
