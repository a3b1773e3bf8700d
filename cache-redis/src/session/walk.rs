//! Whether a walk over the keys of all primaries finds every key.
//!
//! `SCAN` returns what is on one server from the walk's beginning to its end. In a cluster a key may be carried meanwhile
//! from a primary that has not been walked to one that has, and be missed. So the primaries are asked before and after:
//! what they own, of which epoch (a slot that was moved there and back has raised one), what is on its way, and how many
//! keys they have sent and received, which shows also a move that was begun and given up.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{Pipeline, RedisError};

use super::{Session, all, map::Claims};
use crate::{
    connection::{CallError, Connection, checked, field, info_command},
    partition::Partition,
};

/// Where the keys were at one time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standing(Vec<(Claims, String)>);

impl Session {
    /// Where the keys are; `None` while any are on their way, or where the session does not expect them. The same before
    /// and after a walk over all of [`Session::owners`], no key has moved in between.
    pub(crate) async fn standing(&self, bound: Duration) -> Result<Option<Standing>, CallError> {
        let Some(cluster) = &self.cluster else { return Ok(Some(Standing(Vec::new()))) };
        let standing = all(join_all(self.connections().map(|connection| standing(connection, bound))).await)?;
        let settled = Partition::all().all(|at| {
            let slot = at.slot();
            let mut claims = standing.iter().enumerate();
            let is_where_expected =
                claims.all(|(index, (claims, _))| claims.owns(slot) == (cluster.route(at) == index));
            is_where_expected && !standing.iter().any(|(claims, _)| claims.moves(slot))
        });
        Ok(settled.then_some(Standing(standing)))
    }

    /// All servers that own a partition, with one that they own.
    pub(crate) fn owners(&self) -> Vec<(&Connection, Partition)> {
        let Some(cluster) = &self.cluster else { return vec![(&self.first, Partition::WHOLE)] };
        let owned = |index| Partition::all().find(|at| cluster.route(*at) == index);
        self.connections().enumerate().filter_map(|(index, connection)| Some((connection, owned(index)?))).collect()
    }
}

async fn standing(connection: &Connection, bound: Duration) -> Result<(Claims, String), CallError> {
    let claims = connection.claims(bound).await?;
    let mut commands = Pipeline::new();
    commands.add_command(info_command("commandstats"));
    let reply = connection.send_all(&commands, bound).await?.pop().map_or(Ok(redis::Value::Nil), checked);
    let stats = match reply {
        Ok(reply) => redis::from_redis_value::<String>(reply).map_err(RedisError::from)?,
        // Not for this user: the rest has to do.
        Err(CallError::Failed(_)) => String::new(),
        Err(error) => return Err(error),
    };
    let calls = |name| field(&stats, name).and_then(|stat| stat.split(',').next()).unwrap_or_default().to_owned();
    Ok((claims, calls("cmdstat_migrate") + "/" + &calls("cmdstat_restore-asking")))
}
