//! The hit that memory answers at once.
//!
//! Most calls are hits, so they come first: before a load is put together, without an await, a lock or an allocation. What asks for
//! more than that, such as a transaction, a listener or a value near its end, goes the long way, which starts from the beginning.

use std::{sync::Arc, time::Duration};

use super::{
    Cache, Inner,
    object::{self, Known, Object},
};
use crate::{codec::Meta, key::Key, policy::Policy, transaction};

/// What chance has decided for one call, so that it is asked once however often the call begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chance {
    /// Whether the hit is verified.
    pub(super) verify: Option<bool>,
    /// Whether the value is refreshed early.
    pub(super) early: Option<bool>,
}

impl Cache {
    /// The stored value or absence, if memory has it and nothing asks for more than to serve it.
    #[inline]
    pub(crate) fn hit<T>(&self, key: &Key, policy: &Policy, chance: &mut Chance) -> Option<Known<T>>
    where
        T: Send + Sync + 'static,
    {
        let found = object::take::<T>(self.inner.quick(key, policy, chance)?)?;
        self.inner.ledger.quick_hit(key);
        Some(found)
    }

    /// The same for who takes no absence.
    pub(super) fn value_hit<T>(&self, key: &Key, policy: &Policy, chance: &mut Chance) -> Option<Arc<T>>
    where
        T: Send + Sync + 'static,
    {
        let found = object::take::<T>(self.inner.quick(key, policy, chance)?)??;
        self.inner.ledger.quick_hit(key);
        Some(found)
    }
}

impl Inner {
    fn quick(&self, key: &Key, policy: &Policy, chance: &mut Chance) -> Option<Object> {
        let memory = match &self.memory {
            Some(memory) => memory,
            None => self.near.as_ref()?.at_hand(policy.l1.unwrap_or(self.l1))?,
        };
        if self.announcer.has_listeners() || transaction::is_open() {
            return None;
        }
        let (object, meta) = memory.object(key)?;
        if meta.version != policy.version {
            return None;
        }
        let is_plain = meta.fresh_until.is_none() || self.is_fresh(meta, policy, chance);
        (is_plain && !self.samples(policy, chance)).then_some(object)
    }

    /// Whether a value with an end is served as it is: neither expired nor to be refreshed by this call.
    #[cold]
    fn is_fresh(&self, meta: Meta, policy: &Policy, chance: &mut Chance) -> bool {
        self.left(meta).is_none_or(|left| !left.is_zero() && !policy.refreshes(meta.load_time, left, chance))
    }

    /// How long the value is still fresh. `None`: as long as it is there.
    pub(super) fn left(&self, meta: Meta) -> Option<Duration> {
        let end = meta.fresh_until?;
        Some(end.duration_since(self.clock.system_time()).unwrap_or_default())
    }

    /// Whether this call's hit is one of those to verify.
    #[inline]
    pub(super) fn samples(&self, policy: &Policy, chance: &mut Chance) -> bool {
        let share = policy.verify.unwrap_or(self.verify);
        share > 0.0 && *chance.verify.get_or_insert_with(|| fastrand::f64() < share)
    }
}

impl Policy {
    /// Whether this call refreshes a value that took `load_time` to load and has `left` to live.
    pub(super) fn refreshes(&self, load_time: Duration, left: Duration, chance: &mut Chance) -> bool {
        self.refresh_ahead.is_some() && *chance.early.get_or_insert_with(|| self.refreshes_early(load_time, left))
    }
}
