//! What a cache tells: spans on the terminal, and metrics as Prometheus reads them.
//!
//! ```sh
//! cargo run -p observe                                      # in memory
//! REDIS_URL=redis://127.0.0.1/0 cargo run -p observe        # with the round trips to Redis
//! cargo run -p observe -- serve                             # goes on, with http://127.0.0.1:9000/metrics
//! ```
//!
//! For OpenTelemetry the layer of `tracing-opentelemetry` takes the place of the one that prints: the fields have its names.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use staleproof::{Cache, cached, invalidates};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tracing::{Level, Metadata, instrument};
use tracing_subscriber::{
    Layer as _, filter::filter_fn, fmt::format::FmtSpan, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// The buckets of all times, in seconds.
const SECONDS: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// A price list: an atomic number stands for the database.
#[derive(Clone)]
struct Prices {
    database: Arc<AtomicU32>,
    cache: Cache,
}

impl Prices {
    #[cached(ttl = "15m", key_prefix = "price")]
    async fn price(&self, article: u32) -> u32 {
        self.query(article).await
    }

    #[invalidates(Self::price(article))]
    async fn set_price(&self, article: u32, cents: u32) {
        self.database.store(cents, Ordering::SeqCst);
    }

    /// Its span is beneath that of the load.
    #[instrument(skip(self))]
    async fn query(&self, article: u32) -> u32 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.database.load(Ordering::SeqCst)
    }

    /// Its span is around all that the cache does.
    #[instrument(skip(self))]
    async fn request(&self, article: u32) -> u32 {
        self.price(article).await
    }
}

/// Prints each span when it ends, with the spans around it.
fn print_spans() {
    let is_ours = |metadata: &Metadata<'_>| {
        let target = metadata.target();
        *metadata.level() <= Level::DEBUG && (target.starts_with("cache_") || target == "observe")
    };
    let printed = tracing_subscriber::fmt::layer().without_time().with_target(false).with_span_events(FmtSpan::CLOSE);
    tracing_subscriber::registry().with(printed.with_filter(filter_fn(is_ours))).init();
}

/// Five lines of a service.
fn collect_metrics() -> Result<PrometheusHandle, Box<dyn Error>> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    Ok(PrometheusBuilder::new().set_buckets_for_metric(seconds, &SECONDS)?.install_recorder()?)
}

/// The metrics as they are now.
fn page(cache: &Cache, metrics: &PrometheusHandle) -> String {
    cache.publish_metrics();
    metrics.render()
}

/// Answers every request with the metrics. A service has a web framework for it.
async fn serve(cache: &Cache, metrics: &PrometheusHandle) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:9000").await?;
    println!("http://{}/metrics", listener.local_addr()?);
    loop {
        let (mut caller, _) = listener.accept().await?;
        // Enough for what scrapers send.
        let _ = caller.read(&mut [0; 4_096]).await;
        let page = page(cache, metrics);
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}", page.len());
        // It may have gone away.
        let _ = caller.write_all(format!("{head}\r\nConnection: close\r\n\r\n{page}").as_bytes()).await;
        metrics.run_upkeep();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    print_spans();
    let metrics = collect_metrics()?;
    let cache = Cache::builder().namespace("observe").from_env().connect().await?;
    cache.clear().await;
    let prices = Prices { database: Arc::new(AtomicU32::new(199)), cache: cache.clone() };

    println!("\n-- a miss, and nine hits");
    for _ in 0..10 {
        assert_eq!(prices.request(7).await, 199);
    }
    println!("\n-- a write, and the miss after it");
    prices.set_price(7, 249).await;
    assert_eq!(prices.request(7).await, 249);

    let page = page(&cache, &metrics);
    println!("\n-- the metrics\n{page}");
    let requests = |outcome: &str| {
        let name =
            format!("staleproof_requests_total{{namespace=\"observe\",function=\"price\",outcome=\"{outcome}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned)
    };
    assert_eq!((requests("miss").as_deref(), requests("l1_hit").as_deref()), (Some("2"), Some("9")));
    assert!(page.contains("# TYPE staleproof_load_duration_seconds histogram"));

    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve(&cache, &metrics).await,
        _ => Ok(()),
    }
}
