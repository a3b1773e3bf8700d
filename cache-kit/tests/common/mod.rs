//! An instance of a service, over a Redis that is broken.

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, Health, Store};
use cache_kit::{Kit, States};
use cache_redis::{RedisConfig, RedisStore};
use tokio::time::{Instant, sleep};

/// Nothing that is waited for takes longer, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Instance {
    pub(crate) kit: Kit,
    pub(crate) cache: Cache,
}

impl Instance {
    pub(crate) async fn on(url: &str) -> Self {
        Self::with_timeout(url, Duration::from_secs(1)).await
    }

    pub(crate) async fn with_timeout(url: &str, call: Duration) -> Self {
        let config = RedisConfig::new(url).namespace("kit").require();
        let config = config.call_timeout(call).connect_timeout(Duration::from_secs(3));
        let store: Arc<dyn Store> = Arc::new(RedisStore::connect(config).await.expect("Redis is there"));
        let cache = Cache::builder().store(store).build().expect("it is complete");
        Self { kit: Kit::of(&cache), cache }
    }

    pub(crate) async fn waits(&self, is_up: bool) {
        let began = Instant::now();
        while (self.cache.health() == Health::Connected) != is_up {
            assert!(began.elapsed() < PATIENCE, "waited in vain for Redis to be {}", if is_up { "up" } else { "down" });
            sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) fn text(text: &str) -> String {
    text.to_owned()
}

pub(crate) async fn until_none_waits<K: cache_kit::StateKey>(states: &States<K, String>) {
    let began = Instant::now();
    while states.waiting() > 0 {
        assert!(began.elapsed() < PATIENCE, "{} writings wait in vain", states.waiting());
        sleep(Duration::from_millis(10)).await;
    }
}
