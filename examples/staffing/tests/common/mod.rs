//! A small database for each test: SQLite in memory, or a schema of its own on the PostgreSQL server at
//! `STAFFING_TEST_DATABASE_URL`.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use staffing::{Db, Result, seed::Scale};

/// The small data in a database of its own.
pub(crate) async fn small_db() -> Result<Db> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Ok(server) = std::env::var("STAFFING_TEST_DATABASE_URL") else {
        return Db::in_memory(Scale::SMALL).await;
    };
    let schema = format!("test_{}_{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Db::open(Some(&in_schema(&server, &schema).await?), Scale::SMALL).await
}

async fn in_schema(server: &str, schema: &str) -> Result<String> {
    use sqlx::Connection as _;
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(server).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut connection).await?;
    connection.close().await?;
    Ok(format!("{server}?options[search_path]={schema}"))
}
