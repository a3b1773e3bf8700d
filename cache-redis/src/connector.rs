//! How the core finds this store by a URL.

use std::{error::Error, sync::Arc};

use cache_core::{
    connect::{ConnectSpec, Connecting, Connector},
    store::Store,
};

use crate::{RedisConfig, RedisStore};

cache_core::connect::inventory::submit! {
    Connector {
        schemes: &[
            "redis", "rediss", "redis+unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
            "valkey", "valkeys", "valkey+unix", "valkey+sentinel", "valkeys+sentinel", "valkey+cluster", "valkeys+cluster",
            "unix",
        ],
        connect,
    }
}

fn connect(spec: ConnectSpec) -> Connecting {
    Box::pin(async move {
        let mut config = RedisConfig::new(spec.url).namespace(spec.namespace);
        if let Some(timeout) = spec.call_timeout {
            config = config.call_timeout(timeout);
        }
        if spec.require {
            config = config.require();
        }
        if let Some(path) = spec.journal_file {
            config = config.journal_file(path);
        }
        match RedisStore::connect(config).await {
            Ok(store) => Ok(Arc::new(store) as Arc<dyn Store>),
            Err(error) => Err(Box::new(error) as Box<dyn Error + Send + Sync>),
        }
    })
}
