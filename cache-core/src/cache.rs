//! A stand-in for the cache, with the interface that the macros rely on.

use std::{
    any::Any,
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Key, Outcome, Policy, Target};

static GLOBAL: OnceLock<Cache> = OnceLock::new();

/// A cache.
#[derive(Clone, Debug)]
pub struct Cache {
    entries: Arc<Mutex<HashMap<String, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    value: Option<Arc<dyn Any + Send + Sync>>,
    key: Key,
}

/// What a load brought.
#[doc(hidden)]
#[derive(Debug)]
pub struct Loaded<T> {
    /// The value, or its absence.
    pub value: Option<Arc<T>>,
    /// Whether to store it.
    pub store: bool,
}

impl Cache {
    /// A cache in the process.
    pub fn memory() -> Self {
        Self { entries: Arc::default() }
    }

    /// The cache of functions that name none.
    pub fn global() -> Self {
        GLOBAL.get_or_init(Self::memory).clone()
    }

    /// Makes this the global cache.
    pub fn install_global(&self) {
        let _ = GLOBAL.set(self.clone());
    }

    /// The value of `key`, loaded if need be.
    #[doc(hidden)]
    pub async fn fetch<T, E, F>(&self, key: Key, _policy: &Policy, load: F) -> Result<Option<Arc<T>>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        if let Some(entry) = self.lock().get(key.as_str()) {
            match &entry.value {
                None => return Ok(None),
                Some(value) => {
                    if let Ok(value) = value.clone().downcast::<T>() {
                        return Ok(Some(value));
                    }
                }
            }
        }
        let loaded = load.await?;
        if loaded.store {
            let value = loaded.value.clone().map(|value| value as _);
            self.lock().insert(key.as_str().to_owned(), Entry { value, key });
        }
        Ok(loaded.value)
    }

    /// Invalidates all targets.
    pub async fn invalidate(&self, targets: impl IntoIterator<Item = Target>) -> Outcome {
        let targets: Vec<_> = targets.into_iter().collect();
        let cache = self.clone();
        let task = tokio::spawn(async move {
            tokio::task::yield_now().await;
            cache.lock().retain(|path, entry| !targets.iter().any(|target| covers(target, path, &entry.key)));
        });
        let _ = task.await;
        Outcome::Applied
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn covers(target: &Target, path: &str, key: &Key) -> bool {
    match target {
        Target::Entry(entry) => entry == path,
        Target::Node(node) => node == path || key.nodes().any(|above| above == node),
        Target::Tag(tag) => key.tags().contains(tag),
        Target::Glob(glob) => path.starts_with(glob.trim_end_matches('*')),
        Target::All => true,
    }
}
