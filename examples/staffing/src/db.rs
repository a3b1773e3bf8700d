//! The database: SQLite or PostgreSQL behind one pool, with every statement counted and timed.
//!
//! All SQL of the service goes through [`Db`] or a [`Transaction`] of it, so that what [`Db::work`] says is what the
//! database did. Statements are written once for both databases: `$1` placeholders, `RETURNING`, recursive queries.
//!
//! Invariants:
//! - A transaction begins as a writer. In SQLite it holds the write lock from its start, so that it never fails half-way
//!   for reading before it writes; in PostgreSQL it locks the rows that it checks by updating them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{
    Any, AnyPool, Connection as _, FromRow,
    any::{AnyArguments, AnyPoolOptions, AnyRow},
    query::QueryAs,
};
use tempfile::TempDir;

use crate::{Result, seed::Scale};

/// Builds the arguments of a statement.
#[macro_export]
#[doc(hidden)]
macro_rules! args {
    ($($value:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "a statement may have no arguments")]
        let mut args = sqlx::any::AnyArguments::default();
        $(sqlx::Arguments::add(&mut args, $value).map_err(sqlx::Error::Encode)?;)*
        args
    }};
}

/// Which database answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A file, or memory, of this process.
    Sqlite,
    /// A server.
    Postgres,
}

/// A pool of connections that counts what is done over it. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: AnyPool,
    dialect: Dialect,
    place: Arc<str>,
    meter: Arc<Meter>,
    #[expect(
        dead_code,
        reason = "kept to be dropped: it removes the files of a temporary database after the pool is gone"
    )]
    directory: Option<Arc<TempDir>>,
}

/// How many statements ran, and for how long together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The number of statements. Beginning and committing a transaction are not counted.
    pub statements: u64,
    /// The time from sending each to having its last row, waiting for a connection included.
    pub time: Duration,
}

impl std::ops::Sub for Work {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { statements: self.statements - earlier.statements, time: self.time.saturating_sub(earlier.time) }
    }
}

#[derive(Debug, Default)]
struct Meter {
    statements: AtomicU64,
    nanos: AtomicU64,
}

impl Meter {
    async fn count<T>(&self, statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        let begun = Instant::now();
        let result = statement.await;
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        result
    }
}

impl Db {
    /// Opens the database at a URL (`sqlite:staffing.db`, `postgres://…`), or a temporary one without; creates the
    /// tables and fills them if they are empty.
    pub async fn open(url: Option<&str>, scale: Scale) -> Result<Self> {
        let temporary = match url {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("staffing-").tempdir().map_err(sqlx::Error::Io)?),
        };
        let (url, place) = match (url, &temporary) {
            (Some(url), _) => (create_if_absent(url), without_password(url)),
            (None, Some(dir)) => (
                format!("sqlite:{}?mode=rwc", dir.path().join("staffing.sqlite").display()),
                "SQLite (temporary)".into(),
            ),
            (None, None) => unreachable!("without a URL there is a directory"),
        };
        let db = Self::connect(&url, AnyPoolOptions::new().max_connections(8), place).await?;
        let db = Self { directory: temporary.map(Arc::new), ..db };
        crate::schema::create_and_fill(&db, scale).await?;
        Ok(db)
    }

    /// A filled database in memory, over one connection: for tests.
    pub async fn in_memory(scale: Scale) -> Result<Self> {
        // The database lives as long as its connection.
        let pool = AnyPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let db = Self::connect("sqlite::memory:", pool, "SQLite (memory)".into()).await?;
        crate::schema::create_and_fill(&db, scale).await?;
        Ok(db)
    }

    async fn connect(url: &str, pool: AnyPoolOptions, place: String) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let dialect = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
        let pool = pool.after_connect(move |connection, _| {
            Box::pin(async move {
                if dialect == Dialect::Sqlite {
                    let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON";
                    sqlx::raw_sql(settings).execute(connection).await?;
                }
                Ok(())
            })
        });
        if dialect == Dialect::Postgres {
            // A pool tries for half a minute before it says that nobody is there.
            sqlx::AnyConnection::connect(url).await?.close().await?;
        }
        let pool = pool.connect(url).await?;
        Ok(Self { pool, dialect, place: place.into(), meter: Arc::default(), directory: None })
    }

    /// Which database answers.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What has been done so far.
    pub fn work(&self) -> Work {
        Work {
            statements: self.meter.statements.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.meter.nanos.load(Ordering::Relaxed)),
        }
    }

    /// All rows of a query.
    pub async fn all<T: Row>(&self, sql: &'static str, args: AnyArguments) -> Result<Vec<T>> {
        Ok(self.meter.count(query(sql, args).fetch_all(&self.pool)).await?)
    }

    /// The only row of a query.
    pub async fn one<T: Row>(&self, sql: &'static str, args: AnyArguments) -> Result<T> {
        Ok(self.meter.count(query(sql, args).fetch_one(&self.pool)).await?)
    }

    /// The row of a query, if there is one.
    pub async fn optional<T: Row>(&self, sql: &'static str, args: AnyArguments) -> Result<Option<T>> {
        Ok(self.meter.count(query(sql, args).fetch_optional(&self.pool)).await?)
    }

    /// Begins a transaction. Dropped without [`Transaction::commit`], it changes nothing.
    pub async fn begin(&self) -> Result<Transaction> {
        let begun = match self.dialect {
            Dialect::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await?,
            Dialect::Postgres => self.pool.begin().await?,
        };
        Ok(Transaction { begun, dialect: self.dialect, meter: Arc::clone(&self.meter) })
    }
}

impl fmt::Display for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("place", &self.place).field("work", &self.work()).finish_non_exhaustive()
    }
}

/// A transaction of a [`Db`], counted with it.
pub struct Transaction {
    begun: sqlx::Transaction<'static, Any>,
    dialect: Dialect,
    meter: Arc<Meter>,
}

impl Transaction {
    /// Which database answers.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The row of a query, if there is one. Fails as the database does, so that constraints can be told apart.
    pub async fn optional<T: Row>(&mut self, sql: &'static str, args: AnyArguments) -> sqlx::Result<Option<T>> {
        self.meter.count(query(sql, args).fetch_optional(&mut *self.begun)).await
    }

    /// The only row of a query.
    pub async fn one<T: Row>(&mut self, sql: &'static str, args: AnyArguments) -> sqlx::Result<T> {
        self.meter.count(query(sql, args).fetch_one(&mut *self.begun)).await
    }

    /// Runs a statement for its effect: the number of rows that it changed.
    pub async fn execute(&mut self, sql: &'static str, args: AnyArguments) -> sqlx::Result<u64> {
        let done = self.meter.count(sqlx::query_with(sql, args).execute(&mut *self.begun)).await?;
        Ok(done.rows_affected())
    }

    /// Runs statements that were put together at run time, out of nothing that a user typed.
    pub(crate) async fn script(&mut self, sql: String) -> sqlx::Result<()> {
        let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        self.meter.count(statements.execute(&mut *self.begun)).await.map(drop)
    }

    /// Makes the changes permanent.
    pub async fn commit(self) -> Result<()> {
        Ok(self.begun.commit().await?)
    }
}

/// What a row can become.
pub trait Row: for<'r> FromRow<'r, AnyRow> + Send + Unpin {}

impl<T: for<'r> FromRow<'r, AnyRow> + Send + Unpin> Row for T {}

fn query<T: Row>(sql: &'static str, args: AnyArguments) -> QueryAs<'static, Any, T, AnyArguments> {
    sqlx::query_as_with(sql, args)
}

/// A file that is not there yet is created, unless the URL says what to do.
fn create_if_absent(url: &str) -> String {
    let plain_file = url.starts_with("sqlite:") && !url.contains('?') && !url.ends_with(":memory:");
    if plain_file { format!("{url}?mode=rwc") } else { url.into() }
}

/// A URL as it may be shown.
///
/// Everything between the scheme and the last `@` counts as user and password, also where somebody forgot to escape a
/// slash. Options are not shown if one of them is a password (`pass`, `sentinel_pass`, `password`).
pub fn without_password(url: &str) -> String {
    let url = match url.split_once('?') {
        Some((place, options)) if options.contains("pass") => place,
        _ => url,
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        // What is no URL may have a password all the same.
        return url.rsplit_once('@').filter(|_| !url.starts_with("sqlite:")).map_or(url, |(_, host)| host).into();
    };
    match rest.rsplit_once('@') {
        Some((login, host)) => match login.split(':').next() {
            None | Some("") => format!("{scheme}://{host}"),
            Some(user) => format!("{scheme}://{user}@{host}"),
        },
        None => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            ("postgres://me:se:c@ret@host:1/db", "postgres://me@host:1/db"),
            ("redis://:se/cret@host/0", "redis://host/0"),
            ("postgres://host/db", "postgres://host/db"),
            ("sqlite:staffing.db", "sqlite:staffing.db"),
            ("sqlite:/home/me@work/staffing.db", "sqlite:/home/me@work/staffing.db"),
            ("postgres:me:secret@host/db", "host/db"),
            ("redis+sentinel://:s@a,b/main?sentinel_pass=x&on_failover=trust", "redis+sentinel://a,b/main"),
            ("redis+unix:///s?pass=a/b@c", "redis+unix:///s"),
            ("postgres://me@host/db?password=x", "postgres://me@host/db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
