//! What the blocks do, for the recorder of the `metrics` crate. Without the feature `metrics` nothing is recorded.
//!
//! Labels are names that blocks were given, and few words. A label is never a key.

use std::{future::Future, time::Instant};

use crate::Scope;

/// Records what the blocks of one namespace do.
#[derive(Clone)]
pub(crate) struct Meter {
    #[cfg(feature = "metrics")]
    namespace: metrics::SharedString,
}

/// A call of a block that is under way. Dropped before it has ended, it was cancelled.
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "nothing records them"))]
pub(crate) struct Call<'a> {
    meter: &'a Meter,
    block: &'static str,
    name: &'a str,
    operation: &'static str,
    began: Instant,
    has_ended: bool,
}

impl Meter {
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables, reason = "it would be a label"))]
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            namespace: namespace.to_owned().into(),
        }
    }

    pub(crate) fn call<'a>(&'a self, block: &'static str, name: &'a str, operation: &'static str) -> Call<'a> {
        Call { meter: self, block, name, operation, began: Instant::now(), has_ended: false }
    }

    /// Counts a call by what comes of it: what it answers, how that is called, and for whom it holds.
    pub(crate) async fn counted<R, E>(
        &self,
        block: &'static str,
        name: &str,
        operation: &'static str,
        work: impl Future<Output = Result<(R, &'static str, Scope), E>>,
    ) -> Result<R, E> {
        let call = self.call(block, name, operation);
        match work.await {
            Ok((answer, outcome, scope)) => {
                call.end(outcome, scope);
                Ok(answer)
            }
            Err(error) => {
                call.fail();
                Err(error)
            }
        }
    }
}

impl Call<'_> {
    /// It has ended with this outcome, which holds for these.
    pub(crate) fn end(mut self, outcome: &'static str, scope: Scope) {
        self.has_ended = true;
        self.record(outcome, scope.name());
    }

    /// It has failed.
    pub(crate) fn fail(mut self) {
        self.has_ended = true;
        self.record("error", "none");
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.record("cancelled", "none");
        }
    }
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::ThisInstance => "this_instance",
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod nothing {
    use super::{Call, Meter};

    #[allow(clippy::unused_self, reason = "it would record")]
    impl Meter {
        pub(crate) fn happened(&self, _block: &'static str, _name: &str, _what: &'static str) {}

        pub(crate) fn waiting(&self, _block: &'static str, _name: &str, _count: usize) {}

        pub(crate) fn job_ended(&self, _name: &str) {}
    }

    impl Call<'_> {
        #[allow(clippy::unused_self, reason = "it would record")]
        pub(super) fn record(&self, _outcome: &'static str, _scope: &'static str) {}
    }
}

#[cfg(feature = "metrics")]
mod recorded {
    use std::{
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        time::{Instant, SystemTime, UNIX_EPOCH},
    };

    use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

    use super::{Call, Meter};

    const CALLS: &str = "staleproof_kit_calls_total";
    const DURATION: &str = "staleproof_kit_call_duration_seconds";
    const EVENTS: &str = "staleproof_kit_events_total";
    const WAITING: &str = "staleproof_kit_waiting";
    const JOB_ENDED: &str = "staleproof_kit_job_last_success_timestamp_seconds";

    /// Tells their meanings every few seconds: a recorder that was installed since the last time knows none.
    fn describe() {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = START.elapsed().as_secs();
        let next = NEXT.load(Ordering::Relaxed);
        if now < next || NEXT.compare_exchange(next, now + 5, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        describe_counter!(CALLS, Unit::Count, "Calls of the kit's blocks, by what came of them.");
        describe_histogram!(DURATION, Unit::Seconds, "Time that these took, with waiting for a lock.");
        describe_counter!(EVENTS, Unit::Count, "What befell the kit's blocks between calls.");
        describe_gauge!(WAITING, Unit::Count, "Changes that wait for Redis to come back.");
        describe_gauge!(JOB_ENDED, Unit::Seconds, "When this instance last did a job without a failure, since 1970.");
    }

    impl Meter {
        fn labels(&self, block: &'static str, name: &str) -> Vec<Label> {
            describe();
            vec![
                Label::new("namespace", self.namespace.clone()),
                Label::new("block", block),
                Label::new("name", name.to_owned()),
            ]
        }

        /// Something that nobody called for.
        pub(crate) fn happened(&self, block: &'static str, name: &str, what: &'static str) {
            let mut labels = self.labels(block, name);
            labels.push(Label::new("event", what));
            counter!(EVENTS, labels).increment(1);
        }

        /// So many changes wait for Redis.
        pub(crate) fn waiting(&self, block: &'static str, name: &str, count: usize) {
            #[allow(clippy::cast_precision_loss, reason = "there are fewer")]
            gauge!(WAITING, self.labels(block, name)).set(count as f64);
        }

        /// A job was done.
        pub(crate) fn job_ended(&self, name: &str) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            gauge!(JOB_ENDED, self.labels("job", name)).set(now.as_secs_f64());
        }
    }

    impl Call<'_> {
        pub(super) fn record(&self, outcome: &'static str, scope: &'static str) {
            let mut labels = self.meter.labels(self.block, self.name);
            labels.push(Label::new("operation", self.operation));
            histogram!(DURATION, labels.clone()).record(self.began.elapsed().as_secs_f64());
            labels.push(Label::new("outcome", outcome));
            labels.push(Label::new("scope", scope));
            counter!(CALLS, labels).increment(1);
        }
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn each_is_in_the_documentation_and_no_other() {
            let documentation = include_str!("../../docs/OPERATIONS.md");
            let all = [super::CALLS, super::DURATION, super::EVENTS, super::WAITING, super::JOB_ENDED];
            for name in all {
                assert!(documentation.contains(&format!("`{name}`")), "{name} is not in docs/OPERATIONS.md");
            }
            let documented = documentation.split('`').filter(|word| word.starts_with("staleproof_kit_"));
            for name in documented {
                let series = name.split(['{', '[', ' ']).next().unwrap_or(name);
                assert!(all.contains(&series), "{name} is in docs/OPERATIONS.md only");
            }
        }
    }
}
