//! What does a hit in Redis cost, beside the others, beside a bare `GET` and beside a `PING`?
//!
//! By 1, 64 and 256 tasks, each of which asks for one of 1,024 keys at random, takes the answer, and asks again. The value is a list
//! of 20 structs, about 1.2 KB. All contenders have the same server and the same runtime, and take turns in slices. Client and
//! server share the machine. Slices a round, and of which contenders, are arguments.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml what_does_a_hit_in_redis_cost [rounds] [seconds of a slice] [part of names]
//! ```

use std::time::Duration;

use crate::{
    argument,
    closed_loop::{Contender, Figures, measure},
    readers::{ByHand, Cached, Fred, Hitbox, OneTier, Ours, Raw},
    table,
};
use staleproof::L1;

async fn contenders() -> Vec<Contender> {
    vec![
        Contender::new("`PING`", ByHand::new(Raw::Ping).await).await,
        Contender::new("redis `GET`, not decoded (floor)", ByHand::new(Raw::Get).await).await,
        Contender::new("redis `GET` and postcard", ByHand::new(Raw::Decoded).await).await,
        Contender::new("fred `GET` and postcard", Fred::new().await).await,
        Contender::new("cached", Cached::Plain).await,
        Contender::new("cached, client-side caching", Cached::Tracking).await,
        Contender::new("hitbox", Hitbox::new()).await,
        Contender::new("multi-tier-cache, Redis only", OneTier::new().await).await,
        Contender::new("**staleproof**, `l1 = \"off\"`", Ours::new(L1::Off).await).await,
        Contender::new("**staleproof**, `l1 = \"validated\"`", Ours::new(L1::Validated).await).await,
        Contender::new("**staleproof**, `l1 = \"leased\"`", Ours::new(L1::Leased).await).await,
    ]
}

fn cell(figures: &Figures) -> String {
    let [rate, p50, p99] = [table::rate(figures.rate), table::digits(figures.p50), table::digits(figures.p99)];
    format!("{rate} ({p50} / {p99})")
}

pub async fn run() {
    let rounds = argument(1, 5);
    let span = Duration::from_secs_f64(argument(2, 0.2));
    let part = argument(3, String::new());
    let contenders: Vec<_> = contenders().await.into_iter().filter(|one| one.name.contains(&part)).collect();
    let mut lines: Vec<_> = contenders.iter().map(|one| vec![one.name.to_owned()]).collect();
    for tasks in [1, 64, 256] {
        let figures = measure(&contenders, tasks, span, rounds).await;
        for (line, figures) in lines.iter_mut().zip(&figures) {
            line.push(cell(figures));
        }
    }
    table::print(&table::columns(["1 task: hits/s (p50 / p99 µs)", "64 tasks", "256 tasks"]), &lines);
}
