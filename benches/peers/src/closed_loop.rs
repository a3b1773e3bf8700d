//! Taking the time of what waits for Redis: so many tasks, each of which asks, takes the answer, and asks again.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

/// How many keys there are, of which one is asked for at random.
pub const KEYS: u64 = 1_024;

/// Who is asked. Each task has one of its own.
pub trait Reader: Clone + Send + 'static {
    /// Reads the value of this key, and says how many rows it has.
    fn read(&mut self, key: u64) -> impl Future<Output = usize> + Send;
}

/// What came of one slice of time: answers a second, and the 50th and 99th percentile of their time in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
}

type Slice = Box<dyn Fn(usize, Duration) -> Pin<Box<dyn Future<Output = Figures>>>>;

/// A reader, and its name.
pub struct Contender {
    pub name: &'static str,
    slice: Slice,
}

impl Contender {
    /// Reads each key once, so that all that follows are hits.
    pub async fn new<R: Reader>(name: &'static str, mut reader: R) -> Self {
        for key in 0..KEYS {
            reader.read(key).await;
        }
        let slice: Slice = Box::new(move |tasks, span| Box::pin(slice(reader.clone(), tasks, span)));
        Self { name, slice }
    }
}

async fn slice<R: Reader>(reader: R, tasks: usize, span: Duration) -> Figures {
    let began = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let mut reader = reader.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut asked = Instant::now();
                while asked - began < span {
                    assert_eq!(reader.read(fastrand::u64(..KEYS)).await, 20, "a hit has all rows");
                    times.push(asked.elapsed());
                    // A reader that never waits would not let the other tasks run.
                    tokio::task::coop::consume_budget().await;
                    asked = Instant::now();
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in running {
        times.extend(task.await.expect("no reader panics"));
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    let micros = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e6;
    Figures { rate, p50: micros(50), p99: micros(99) }
}

/// Lets all of them take turns, round after round, so that what the machine does meanwhile hits all of them. The medians of each.
pub async fn measure(contenders: &[Contender], tasks: usize, span: Duration, rounds: usize) -> Vec<Figures> {
    let mut all: Vec<Vec<Figures>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (contender, figures) in contenders.iter().zip(&mut all) {
            figures.push((contender.slice)(tasks, span).await);
        }
    }
    all.iter().map(|rounds| medians(rounds)).collect()
}

fn medians(rounds: &[Figures]) -> Figures {
    let median = |of: fn(&Figures) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Figures { rate: median(|one| one.rate), p50: median(|one| one.p50), p99: median(|one| one.p99) }
}
