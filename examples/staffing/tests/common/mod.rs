//! A small database for each test: SQLite in memory, or a schema of its own on the PostgreSQL server at
//! `STAFFING_TEST_DATABASE_URL`.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::Connection as _;
use staffing::{Db, Result, seed::Scale};

/// The small data in a database of its own.
pub(crate) async fn small_db() -> Result<Db> {
    match own_schema().await? {
        None => Db::in_memory(Scale::SMALL).await,
        Some(url) => Db::open(Some(&url), Scale::SMALL).await,
    }
}

/// A new schema on the PostgreSQL server that the tests are told to use, if they are.
pub(crate) async fn own_schema() -> Result<Option<String>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Ok(server) = std::env::var("STAFFING_TEST_DATABASE_URL") else { return Ok(None) };
    let schema = format!("test_{}_{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&server).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut connection).await?;
    connection.close().await?;
    Ok(Some(format!("{server}?options[search_path]={schema}")))
}
