//! Partitions whose slot is on its way from one primary to another.
//!
//! Keys of such a slot that the old owner still has are served there; all others are at the new one, for those whom the
//! old one has sent there by `ASK`. A call over several keys is refused unless all are in one place. So nothing is read
//! from such a partition and nothing stored, and the move ends with it cold anyway, since its root is of another server
//! then. What has to be possible is to invalidate and to hold.
//!
//! *Invalidating* removes the root on every server that may have it: nothing that was stored under it is ever served
//! again, wherever it is by then. A key that never exists is part of every call that invalidates, so such a call is never
//! executed in a slot that is on its way: it would be in force where the keys were found, and what a failed step of the
//! move has left of them on the other side would come back. A root that is missing is not made anew before the move is
//! over, since nothing is stored before.
//!
//! A move may also be given up: the old owner forgets of it first, and only then can keys be carried back that had gone. In
//! between it serves the slot as if nothing were missing, and what is invalidated there would come back. So the servers
//! are asked twice a second which slots are on their way, and a slot is so for as long as one of the two sides says so.
//!
//! *Holding* goes key by key to where the key is or would be.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

use super::{ATTEMPTS, Session, all, cluster::Cluster, left};
use crate::{
    connection::{CallError, Connection, checked},
    name::Names,
    partition::Partition,
};

impl Session {
    /// Invalidates all of a partition that was found on the move.
    pub(crate) async fn kill(&self, names: &Names, at: Partition, bound: Duration) -> Result<(), CallError> {
        let deadline = Instant::now() + bound;
        let mut commands = Pipeline::new();
        commands.cmd("UNLINK").arg(names.root(at));
        // Asked for by itself, it tells whether the slot is on its way, and where to.
        commands.cmd("UNLINK").arg(names.never(at));
        for _ in 0..ATTEMPTS {
            let (cluster, index, connection) = self.owner(at)?;
            let replies = connection.send_all(&commands, left(deadline)).await?;
            let mut replies = replies.into_iter().map(checked);
            let (root, never) = (replies.next().unwrap_or(Ok(Value::Nil)), replies.next().unwrap_or(Ok(Value::Nil)));
            let to = match (root, never) {
                (Err(CallError::Moved(to)), _) | (_, Err(CallError::Moved(to))) => {
                    cluster.reroute(at, index, &to)?;
                    continue;
                }
                (Ok(_) | Err(CallError::OnTheMove(_)), Err(CallError::OnTheMove(Some(to)))) => Some(to),
                // The move was over before, or is about to be given up.
                (Ok(_), Ok(_)) => None,
                // It was given up between the two.
                (Err(CallError::OnTheMove(_)), Ok(_)) => continue,
                (Err(error), _) | (_, Err(error)) => return Err(error),
            };
            // Not only there: a move that was begun and given up has left what it did where nobody says so.
            let next = to.map(|to| cluster.named(index, &to)).transpose()?;
            let others = self.connections().enumerate().filter(|(number, _)| *number != index);
            let unlinked = others.map(|(number, other)| async move {
                match asking(other, unlink(&names.root(at)), left(deadline)).await {
                    Ok(_) => Ok(true),
                    // It has nothing to do with it, unless it was named.
                    Err(CallError::Moved(_) | CallError::OnTheMove(_)) => Ok(Some(number) != next),
                    Err(error) => Err(error),
                }
            });
            if all(join_all(unlinked).await)?.into_iter().all(|is_done| is_done) {
                return Ok(());
            }
        }
        Err(CallError::OnTheMove(None))
    }

    /// Sends a command over a single key of a partition that was found on the move to where the key is, or would be.
    pub(crate) async fn follow(&self, at: Partition, bound: Duration, command: &Cmd) -> Result<Value, CallError> {
        let deadline = Instant::now() + bound;
        for _ in 0..ATTEMPTS {
            let (cluster, index, connection) = self.owner(at)?;
            match connection.send(command, left(deadline)).await {
                Err(CallError::Moved(to)) => cluster.reroute(at, index, &to)?,
                Err(CallError::OnTheMove(Some(to))) => {
                    let other = self.nth(cluster.named(index, &to)?);
                    match asking(other, command.clone(), left(deadline)).await {
                        Err(CallError::Moved(_) | CallError::OnTheMove(_)) => {}
                        result => return result,
                    }
                }
                result => return result,
            }
        }
        Err(CallError::OnTheMove(None))
    }

    fn owner(&self, at: Partition) -> Result<(&Cluster, usize, &Connection), CallError> {
        // One server has no slots, and never says that one is on its way.
        let cluster = self.cluster.as_deref().ok_or(CallError::OnTheMove(None))?;
        let index = cluster.route(at);
        Ok((cluster, index, self.nth(index)))
    }
}

/// Sends a command to the one that takes a slot over.
async fn asking(connection: &Connection, command: Cmd, bound: Duration) -> Result<Value, CallError> {
    let mut commands = Pipeline::with_capacity(2);
    commands.cmd("ASKING");
    commands.add_command(command);
    let mut replies = connection.send_all(&commands, bound).await?;
    checked(replies.pop().unwrap_or(Value::Nil))
}

fn unlink(root: &str) -> Cmd {
    let mut command = redis::cmd("UNLINK");
    command.arg(root);
    command
}
