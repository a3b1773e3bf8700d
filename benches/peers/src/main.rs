//! staleproof beside other caches, in one run of one program: [each question](questions) is answered by a Markdown table.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml                # says which questions there are
//! cargo run --release --manifest-path benches/peers/Cargo.toml QUESTION [arguments]
//! ```
//!
//! `scripts/compare` asks all of them, and puts the answers into `docs/COMPARISON.md`. They need a Redis: the one at
//! `STALEPROOF_TEST_REDIS_URL`, or else one that they start.

mod closed_loop;
mod questions;
mod readers;
mod subjects;
mod table;
mod turns;

use std::sync::Arc;

use hitbox_fn::CacheableResponse;
use serde::{Deserialize, Serialize};

/// Twenty of these are about 1.2 KB encoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CacheableResponse)]
pub struct Row {
    pub id: u64,
    pub name: String,
    pub city: String,
    pub rate: f64,
    pub active: bool,
}

/// The value that is cached.
pub fn rows() -> Vec<Row> {
    (0..20)
        .map(|id| Row {
            id,
            name: format!("employee number {id:>6}"),
            city: "somewhere on the coast".into(),
            rate: 12.5,
            active: true,
        })
        .collect()
}

/// What is cached, shared.
pub type Rows = Arc<Vec<Row>>;

/// The question's argument of this number, counted from 1, or what is taken without it.
///
/// # Panics
///
/// If it is none of that kind.
fn argument<T: std::str::FromStr>(place: usize, default: T) -> T {
    let Some(text) = std::env::args().nth(place + 1) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{text:?} is not understood"))
}

fn main() {
    let question = std::env::args().nth(1).unwrap_or_default();
    let Some((_, answer)) = questions::ALL.into_iter().find(|(name, _)| *name == question) else {
        let names = questions::ALL.map(|(name, _)| name);
        eprintln!("peers QUESTION [arguments], where the question is one of\n  {}", names.join("\n  "));
        std::process::exit(2);
    };
    answer();
}
