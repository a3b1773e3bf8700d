//! The questions, each answered by the file named after it.

use std::future::Future;

mod how_often_does_a_cold_key_load;
mod is_anybody_served_an_old_value;
mod what_do_a_hundred_methods_cost_to_build;
mod what_does_a_hit_in_redis_cost;
mod what_does_a_hit_in_the_process_cost;
mod what_does_an_invalidation_cost;

/// A question, and what answers it.
type Question = (&'static str, fn());

/// All of them, in the order of the document.
pub const ALL: [Question; 6] = [
    ("is_anybody_served_an_old_value", || wait(is_anybody_served_an_old_value::run())),
    ("how_often_does_a_cold_key_load", how_often_does_a_cold_key_load::run),
    ("what_does_a_hit_in_the_process_cost", what_does_a_hit_in_the_process_cost::run),
    ("what_does_a_hit_in_redis_cost", || wait(what_does_a_hit_in_redis_cost::run())),
    ("what_does_an_invalidation_cost", || wait(what_does_an_invalidation_cost::run())),
    ("what_do_a_hundred_methods_cost_to_build", what_do_a_hundred_methods_cost_to_build::run),
];

/// The same runtime for all that need one: with a worker for each processor.
fn wait(answer: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(answer);
}
