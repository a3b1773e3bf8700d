//! Waiting for what other processes do.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until there is something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
