//! Invalidating: all keys and tokens in one round trip, globs by walking the keys.
//!
//! A glob is a `SCAN` over the whole database and an `UNLINK` of what it finds, leases included. A `SCAN` returns every
//! key that is there from its beginning to its end, and a fill changes no key's presence, so no load in flight is missed.

use std::{collections::BTreeMap, time::Duration};

use cache_core::{
    Target,
    store::{HolderId, NotHoldable},
};
use redis::{Cmd, Pipeline, Value};

use crate::{
    connection::CallError,
    error::UnexpectedReply,
    journal::Item,
    name::{Hits, Names},
    script::{SCRIPTS, Script},
    store::millis,
};

/// How many keys one script call takes, so that it does not block the server for long.
const KEYS_PER_CALL: usize = 1_000;

/// How many keys one step of a walk looks at.
const SCAN_COUNT: usize = 1_000;

/// The quarantine of these targets, for `lasts` from now on.
pub(crate) fn hold(
    names: &Names,
    targets: &[Target],
    holder: HolderId,
    lasts: Duration,
) -> Result<Pipeline, NotHoldable> {
    let mut keys = Vec::new();
    if !targets.iter().all(|target| names.of_hold(target, &mut keys)) {
        return Err(NotHoldable);
    }
    let mut pipeline = Pipeline::new();
    add_calls(&mut pipeline, names, &SCRIPTS.hold, &keys, |command| {
        command.arg(&holder.0).arg(millis(lasts));
    });
    Ok(pipeline)
}

/// Invalidates all targets over one connection, and takes the holders off that are named. `Ok` only when a primary has
/// acknowledged all of it.
pub(crate) async fn apply<F>(names: &Names, items: &[Item], send: impl Fn(Pipeline) -> F) -> Result<(), CallError>
where
    F: Future<Output = Result<Vec<Value>, CallError>>,
{
    let mut hits = Hits::default();
    let mut released: BTreeMap<[u8; 32], Hits> = BTreeMap::new();
    for item in items {
        match item.holder {
            Some(holder) if item.target.can_be_held() => {
                names.of_target(&item.target, released.entry(holder.0).or_default());
            }
            _ => names.of_target(&item.target, &mut hits),
        }
    }
    let mut pipeline = Pipeline::new();
    if !hits.keys.is_empty() || released.is_empty() {
        add_removal(&mut pipeline, names, &hits.keys);
    }
    for (holder, hits) in &released {
        add_calls(&mut pipeline, names, &SCRIPTS.unhold, &hits.keys, |command| {
            command.arg(holder);
        });
    }
    send(pipeline).await?;
    // The journal hands out its items in any order: sorted, the same trouble takes the same course twice.
    hits.globs.sort_unstable();
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
    add_calls(pipeline, names, &SCRIPTS.invalidate, keys, |_| {});
}

/// Calls a script over all keys, and at least once. `finish` appends the arguments.
fn add_calls<K: redis::ToRedisArgs>(
    pipeline: &mut Pipeline,
    names: &Names,
    script: &Script,
    keys: &[K],
    finish: impl Fn(&mut Cmd),
) {
    let mut rest = keys;
    loop {
        let (now, later) = rest.split_at(rest.len().min(KEYS_PER_CALL));
        let mut command = script.call(1 + now.len(), 48 * now.len());
        command.arg(names.never());
        for key in now {
            command.arg(key);
        }
        finish(&mut command);
        pipeline.add_command(command);
        if later.is_empty() {
            return;
        }
        rest = later;
    }
}
