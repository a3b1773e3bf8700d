//! Does one thing so many times, to be counted by `scripts/instructions`: `instructions <what> <times>`. With the feature `metrics` a recorder is installed, and a
//! subscriber that takes all spans.

use std::{
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
};

use staleproof::{Cache, Key, cached};

struct Service {
    cache: Cache,
}

impl Service {
    #[cached(ttl = "15m", key_prefix = "bench_rows")]
    async fn rows(&self, owner: u64, kind: &str) -> Arc<Vec<u8>> {
        Arc::new(vec![0; 64])
    }

    #[cached(ttl = "15m", key_prefix = "bench_tagged", tags("owner:{owner}"))]
    async fn tagged(&self, owner: u64, kind: &str) -> Arc<Vec<u8>> {
        Arc::new(vec![0; 64])
    }
}

/// Runs a future that has nothing to wait for, in the place where it is: to move it would count as well.
fn now<T>(future: Pin<&mut impl Future<Output = T>>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("memory answers at once"),
    }
}

fn main() {
    #[cfg(feature = "metrics")]
    {
        metrics_util::debugging::DebuggingRecorder::new().install().expect("there is no other");
        let all = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::sink).finish();
        tracing::subscriber::set_global_default(all).expect("there is no other");
    }
    let mut arguments = std::env::args().skip(1);
    let (what, times) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let times: u64 = times.parse().expect("how many times");
    let service = Service { cache: Cache::memory() };
    let act: &dyn Fn(u64) = match &*what {
        "hit" => &|id| drop(black_box(now(pin!(service.rows(black_box(id), black_box("active")))))),
        "hit-tagged" => &|id| drop(black_box(now(pin!(service.tagged(black_box(id), black_box("active")))))),
        "key" => &|id| drop(black_box(Key::new("bench_rows").arg(&black_box(id)).arg(black_box("active")))),
        "key-escaped" => &|id| drop(black_box(Key::new("bench_rows").arg(&(black_box(id), "a:b")).arg(&Some("ü")))),
        other => panic!("`{other}` is none of hit, hit-tagged, key, key-escaped"),
    };
    // The first thousand are the same ones, however many follow; they fill the cache.
    for id in (0..1_000).chain((0..times).map(|time| time % 1_000)) {
        act(id);
    }
}
