//! Cached methods of a trait, with `#[async_trait]`, behind `dyn`.
//!
//! ```sh
//! cargo run --example trait_service
//! ```

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use staleproof::{Cache, cached, cached_impl, invalidates};

#[derive(Debug, thiserror::Error)]
#[error("there is no employee {0}")]
struct NoSuchEmployee(usize);

#[async_trait]
trait Directory: Send + Sync {
    async fn name(&self, id: usize) -> Result<Arc<String>, NoSuchEmployee>;
    async fn rename(&self, id: usize, name: &str) -> Result<(), NoSuchEmployee>;
}

struct SqlDirectory {
    names: Mutex<Vec<String>>,
    queries: AtomicUsize,
    cache: Cache,
}

// Above `#[async_trait]`, so that it sees the methods as they are written.
#[cached_impl]
#[async_trait]
impl Directory for SqlDirectory {
    #[cached(ttl = "15m", key_prefix = "employee_name")]
    async fn name(&self, id: usize) -> Result<Arc<String>, NoSuchEmployee> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        let names = self.names.lock().expect("not poisoned");
        names.get(id).cloned().map(Arc::new).ok_or(NoSuchEmployee(id))
    }

    #[invalidates(Self::name(id))]
    async fn rename(&self, id: usize, name: &str) -> Result<(), NoSuchEmployee> {
        let mut names = self.names.lock().expect("not poisoned");
        let slot = names.get_mut(id).ok_or(NoSuchEmployee(id))?;
        name.clone_into(slot);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), NoSuchEmployee> {
    let sql = Arc::new(SqlDirectory {
        names: Mutex::new(vec!["Ada".to_owned()]),
        queries: AtomicUsize::new(0),
        cache: Cache::memory(),
    });
    let directory: Arc<dyn Directory> = sql.clone();

    println!("{} and, from the cache, {}", directory.name(0).await?, directory.name(0).await?);
    directory.rename(0, "Ada L.").await?;
    println!("renamed: {}", directory.name(0).await?);
    for _ in 0..2 {
        if let Err(error) = directory.name(9).await {
            println!("an error passes through untouched and is not stored: {error}");
        }
    }
    println!("queries: {}", sql.queries.load(Ordering::SeqCst));
    assert_eq!(sql.queries.load(Ordering::SeqCst), 4);
    Ok(())
}
