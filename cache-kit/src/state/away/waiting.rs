//! What waits to be written back, and how it is.

use std::time::Instant;

use cache_core::store::StoreError;

use super::Waiting;
use crate::backend::{Backend, Expected, Record, Seen};

impl Waiting {
    /// What is to be written, unless its time is over.
    pub(super) fn record(&self) -> Option<Record> {
        let left = self.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let (version, bytes) = self.value.clone()?;
        Some(Record { version, bytes, left, written: u64::MAX, is_of_this_life: self.is_unheard })
    }

    /// What is there now, and whether it is what was to be written.
    pub(super) async fn write_back(&self, main: &dyn Backend) -> Result<(Seen, bool), StoreError> {
        let Some(record) = self.record() else { return self.remove(main).await };
        let write = |expected: Expected| {
            let Record { version, bytes, left, .. } = &record;
            async move { main.write(&self.spot, &expected, version, bytes, *left).await }
        };
        let is_written = |seen: &Seen| seen.record.as_ref().is_some_and(|there| there.version == record.version);
        let mut seen = write(self.base.clone()).await?;
        if !is_written(&seen)
            && let Some(other) = self.other_base(&seen)
        {
            seen = write(other).await?;
        }
        let is_written = is_written(&seen);
        Ok((seen, is_written))
    }

    async fn remove(&self, main: &dyn Backend) -> Result<(Seen, bool), StoreError> {
        let who = crate::backend::version();
        let mut removed = main.remove(&self.spot, &self.base, &who).await?;
        if !removed.is_done
            && let Some(other) = self.other_base(&removed.seen)
        {
            removed = main.remove(&self.spot, &other, &who).await?;
        }
        let is_gone = removed.is_done || removed.seen.record.is_none();
        let seen = if removed.is_done { Seen { record: None, ..removed.seen } } else { removed.seen };
        Ok((seen, is_gone))
    }

    /// What has to be there instead of the base: what this instance had sent, or what shows that Redis has lost the base, or went back to older data.
    fn other_base(&self, seen: &Seen) -> Option<Expected> {
        match &seen.record {
            None => {
                let is_other_life = !self.incarnation.is_empty() && self.incarnation != seen.incarnation;
                (is_other_life && !seen.was_removed).then_some(Expected::Nothing)
            }
            Some(record) => {
                let is_past = record.written < self.written && !record.is_of_this_life;
                let is_own = self.own.contains(&record.version);
                (is_past || is_own).then_some(Expected::Version(record.version))
            }
        }
    }
}
