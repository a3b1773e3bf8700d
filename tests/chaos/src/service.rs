//! The service: rows in teams, each with a version that every write raises.
//!
//! It reads one row, or the rows of a team below a node or under a tag, and writes in every way that invalidates.

use std::time::Duration;

use sqlx::{AnyPool, any::AnyPoolOptions};
use staleproof::{Cache, Health, Outcome, Unavailable, cached, invalidates, keys};

use crate::{
    clock::{Nanos, now},
    fact::{Commit, Fact, Kind, Life, Snapshot},
    instance::Teller,
};

pub(crate) const ROWS: i64 = 48;
pub(crate) const TEAM: i64 = 4;

/// How long a quarantine outlives its writer. No instance is stopped for as long.
pub(crate) const HOLD: Duration = Duration::from_secs(3);

const TTL: Duration = Duration::from_mins(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Refused(#[from] Unavailable),
}

type Result<T> = std::result::Result<T, Error>;

/// Opens the database. Each instance has a pool of its own.
pub(crate) async fn open(url: &str) -> Result<AnyPool> {
    sqlx::any::install_default_drivers();
    let is_sqlite = url.starts_with("sqlite:");
    let pool = AnyPoolOptions::new().max_connections(8).after_connect(move |connection, _| {
        Box::pin(async move {
            if is_sqlite {
                // A stopped instance may hold the write lock.
                let settings = "PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF";
                sqlx::raw_sql(settings).execute(connection).await?;
            }
            Ok(())
        })
    });
    Ok(pool.connect(url).await?)
}

/// Creates the table.
pub(crate) async fn create(db: &AnyPool) -> Result<()> {
    sqlx::query("DROP TABLE IF EXISTS chaos_rows").execute(db).await?;
    let sql = "CREATE TABLE chaos_rows (id BIGINT PRIMARY KEY, team BIGINT NOT NULL, version BIGINT NOT NULL)";
    sqlx::query(sql).execute(db).await?;
    let mut tx = db.begin().await?;
    for id in 0..ROWS {
        let sql = "INSERT INTO chaos_rows (id, team, version) VALUES ($1, $2, 1)";
        sqlx::query(sql).bind(id).bind(id / TEAM).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

tokio::task_local! {
    /// When the writing method was called that runs in this task.
    pub(crate) static CALLED: Nanos;
}

/// The service in one instance.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) db: AnyPool,
    pub(crate) cache: Cache,
    pub(crate) life: Life,
    pub(crate) teller: Teller,
}

impl Service {
    #[cached(ttl = TTL, key_prefix = "row")]
    pub(crate) async fn row(&self, id: i64) -> Result<Snapshot> {
        self.load("SELECT id, version FROM chaos_rows WHERE id = $1", id).await
    }

    #[cached(ttl = TTL, key_prefix = "team")]
    pub(crate) async fn team(&self, team: i64, page: i64) -> Result<Snapshot> {
        self.load("SELECT id, version FROM chaos_rows WHERE team = $1 ORDER BY id", team).await
    }

    #[cached(ttl = TTL, key_prefix = "tagged", tags("team:{team}"))]
    pub(crate) async fn tagged(&self, page: i64, team: i64) -> Result<Snapshot> {
        self.load("SELECT id, version FROM chaos_rows WHERE team = $1 ORDER BY id", team).await
    }

    #[invalidates(Self::row(id), Self::team(id / TEAM, ..), tag("team:{}", id / TEAM), tag("write:{nonce}"))]
    pub(crate) async fn write(&self, id: i64, nonce: u64) -> Result<Commit> {
        self.commit(id, Kind::Plain).await
    }

    #[invalidates("row:*", Self::team(id / TEAM, ..), tag("team:{}", id / TEAM), tag("write:{nonce}"))]
    pub(crate) async fn write_with_glob(&self, id: i64, nonce: u64) -> Result<Commit> {
        self.commit(id, Kind::Glob).await
    }

    #[invalidates(Self::row(id), Self::team(id / TEAM, ..), tag("team:{}", id / TEAM), tag("write:{nonce}"), hold = HOLD)]
    pub(crate) async fn write_held(&self, id: i64, nonce: u64) -> Result<Commit> {
        self.commit(id, Kind::Held).await
    }

    #[invalidates(
        Self::row(id), Self::team(id / TEAM, ..), tag("team:{}", id / TEAM), tag("write:{nonce}"),
        hold = HOLD, unreachable = "refuse",
    )]
    pub(crate) async fn write_held_or_refuse(&self, id: i64, nonce: u64) -> Result<Commit> {
        self.commit(id, Kind::HeldOrRefused).await
    }

    pub(crate) async fn write_by_hand(&self, id: i64) -> Result<(Commit, Outcome)> {
        let commit = self.commit(id, Kind::ByHand).await?;
        Ok((commit, self.invalidate(id).await))
    }

    /// Claims an invalidation that it does not do.
    pub(crate) async fn write_without_invalidating(&self, id: i64) -> Result<Commit> {
        self.commit(id, Kind::Broken).await
    }

    /// The classic: the invalidation comes before the commit.
    pub(crate) async fn write_after_invalidating(&self, id: i64) -> Result<(Commit, Outcome)> {
        let outcome = self.invalidate(id).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok((self.commit(id, Kind::Broken).await?, outcome))
    }

    async fn invalidate(&self, id: i64) -> Outcome {
        let team = id / TEAM;
        self.cache.invalidate(keys![Self::row(id), Self::team(team, ..), tag("team:{team}")]).await
    }

    pub(crate) fn is_degraded(&self) -> bool {
        matches!(self.cache.health(), Health::Degraded { .. })
    }

    async fn load(&self, sql: &'static str, id: i64) -> Result<Snapshot> {
        let (begin, degraded) = (now(), self.is_degraded());
        let rows = sqlx::query_as::<_, (i64, i64)>(sql).bind(id).fetch_all(&self.db).await?;
        if fastrand::u8(..) < 30 {
            // Time in which the rows change.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(1..40))).await;
        }
        let padding = "-".repeat(fastrand::usize(200..2_000));
        Ok(Snapshot { rows, life: self.life, begin, end: now(), degraded, padding })
    }

    async fn commit(&self, row: i64, kind: Kind) -> Result<Commit> {
        let begin = now();
        let called = CALLED.try_with(|called| *called).unwrap_or(begin);
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE chaos_rows SET version = version + 1 WHERE id = $1 RETURNING version";
        let (version,) = sqlx::query_as::<_, (i64,)>(sql).bind(row).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        let at = now();
        let commit = Commit { row, version, kind, called, begin, at, end: at };
        self.teller.tell(Fact::Commit(commit.clone()));
        self.teller.die_if_due(kind);
        if fastrand::u8(..) < 60 {
            // Time to be killed in, between the commit and the invalidation.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(1..30))).await;
        }
        Ok(Commit { end: now(), ..commit })
    }
}
