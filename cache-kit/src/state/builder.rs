//! How states are set up.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use super::{
    States,
    away::Away,
    core::{Core, write_back},
};
use crate::{Kit, LONGEST};

/// Sets states up. [`Kit::states`] begins it.
#[derive(Clone, Debug)]
pub struct StateBuilder {
    pub(super) kit: Kit,
    pub(super) name: String,
    pub(super) ttl: Duration,
    pub(super) is_sliding: bool,
    pub(super) is_strict: bool,
    pub(super) is_restored: bool,
    pub(super) version: u32,
    pub(super) capacity: usize,
}

impl StateBuilder {
    pub(crate) fn new(kit: Kit, name: &str) -> Self {
        let ttl = Duration::from_secs(3600);
        Self {
            kit,
            name: name.to_owned(),
            ttl,
            is_sliding: false,
            is_strict: false,
            is_restored: false,
            version: 0,
            capacity: 100_000,
        }
    }

    /// How long a state is kept after it was written. An hour by default.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl.min(LONGEST);
        self
    }

    /// Reading keeps it for as long again.
    #[must_use]
    pub fn sliding(mut self) -> Self {
        self.is_sliding = true;
        self
    }

    /// What is damaged, or of a shape before a change of the type, is [`StateError::Unreadable`](crate::StateError::Unreadable) rather than absent.
    #[must_use]
    pub fn unreadable_is_an_error(mut self) -> Self {
        self.is_strict = true;
        self
    }

    /// A Redis that comes back without its data, or with older ones, is given what is asked for and remembered here. What another instance removed shortly before it was
    /// lost may come back so: write a state that says "ended" instead of removing it, where that matters.
    #[must_use]
    pub fn restored_after_loss(mut self) -> Self {
        self.is_restored = true;
        self
    }

    /// To be raised where a value's meaning changes and its shape does not.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// How many states this instance remembers for an outage, and how many writings it keeps to be written back. 100,000 by default.
    #[must_use]
    pub fn remembers(mut self, states: usize) -> Self {
        self.capacity = states.max(1);
        self
    }

    /// The states. Inside of a Tokio runtime: what was written in an outage is written back by a task, which ends when
    /// the last clone is gone and nothing waits. Other states of the same name know nothing of what waits here: build them once, and clone them.
    pub fn build<K, T>(self) -> States<K, T> {
        States { core: self.core(), types: PhantomData }
    }

    pub(crate) fn core(self) -> Arc<Core> {
        let kit = self.kit.clone();
        let core = Arc::new(Core { away: Arc::new(Away::new(self.capacity)), settings: self });
        if kit.is_redis() {
            tokio::spawn(write_back(kit, Arc::downgrade(&core)));
        }
        core
    }
}
