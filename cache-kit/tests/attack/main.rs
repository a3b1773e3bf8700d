//! What broke, and must not again.

mod all;
#[path = "../common/mod.rs"]
mod common;
mod jobs;
mod limits;
mod lists;
mod locks;
mod outages;
mod places;
mod rates;
mod states;
mod topics;
mod writers;

use std::time::Duration;

use cache_core::Cache;
use cache_kit::Kit;

pub(crate) use common::{Instance, PATIENCE, text, until_none_waits};

const LONG: Duration = Duration::from_secs(300);

fn in_memory() -> Kit {
    Kit::of(&Cache::memory())
}
