//! Invalidating: all keys and tokens in one round trip, globs by walking the keys.
//!
//! A glob is a `SCAN` over the whole database and an `UNLINK` of what it finds, leases included. A `SCAN` returns every
//! key that is there from its beginning to its end, and a fill changes no key's presence, so no load in flight is missed.

use cache_core::Target;
use redis::{Pipeline, Value};

use crate::{
    connection::CallError,
    error::UnexpectedReply,
    name::{Hits, Names},
    script::SCRIPTS,
};

/// How many keys one script call takes, so that it does not block the server for long.
const KEYS_PER_CALL: usize = 1_000;

/// How many keys one step of a walk looks at.
const SCAN_COUNT: usize = 1_000;

/// Invalidates all targets over one connection. `Ok` only when a primary has acknowledged all of it.
pub(crate) async fn apply<F>(names: &Names, targets: &[Target], send: impl Fn(Pipeline) -> F) -> Result<(), CallError>
where
    F: Future<Output = Result<Vec<Value>, CallError>>,
{
    let mut hits = Hits::default();
    for target in targets {
        names.of_target(target, &mut hits);
    }
    let mut pipeline = Pipeline::new();
    add_removal(&mut pipeline, names, &hits.keys);
    send(pipeline).await?;
    for pattern in &hits.globs {
        sweep(names, pattern, &send).await?;
    }
    Ok(())
}

/// Removes what matches. Each step also removes what the step before has found; the last one only that.
async fn sweep<F>(names: &Names, pattern: &str, send: &impl Fn(Pipeline) -> F) -> Result<(), CallError>
where
    F: Future<Output = Result<Vec<Value>, CallError>>,
{
    let mut cursor = 0;
    let mut found: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut pipeline = Pipeline::new();
        if !found.is_empty() {
            add_removal(&mut pipeline, names, &found);
        }
        pipeline.cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
        let page = send(pipeline).await?.pop();
        (cursor, found) = page
            .and_then(|page| redis::from_redis_value::<(u64, Vec<Vec<u8>>)>(page).ok())
            .ok_or_else(|| CallError::Failed(Box::new(UnexpectedReply)))?;
        if cursor == 0 {
            break;
        }
    }
    // Also with nothing found: the walk has only read, and a server that was demoted meanwhile still answers reads.
    let mut pipeline = Pipeline::new();
    add_removal(&mut pipeline, names, &found);
    send(pipeline).await?;
    Ok(())
}

fn add_removal<K: redis::ToRedisArgs>(pipeline: &mut Pipeline, names: &Names, keys: &[K]) {
    let mut rest = keys;
    loop {
        let (now, later) = rest.split_at(rest.len().min(KEYS_PER_CALL));
        let mut command = SCRIPTS.invalidate.call(1 + now.len(), 48 * now.len());
        command.arg(names.never());
        for key in now {
            command.arg(key);
        }
        pipeline.add_command(command);
        if later.is_empty() {
            return;
        }
        rest = later;
    }
}
