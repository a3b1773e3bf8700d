//! What a call of a service can fail with.

/// The result of a service's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a call of a service can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// There is nothing under this id.
    #[error("there is no {what} {id}")]
    Missing {
        /// The kind of thing that was looked for.
        what: &'static str,
        /// Its id.
        id: i64,
    },
    /// The rules of the domain forbid the write.
    #[error("refused: {0}")]
    Refused(&'static str),
}

impl Error {
    /// Tells what the database refused by a constraint from what failed.
    pub(crate) fn of_constraint(error: sqlx::Error, unique: &'static str, foreign: &'static str) -> Self {
        match error.as_database_error() {
            Some(broken) if broken.is_unique_violation() => Self::Refused(unique),
            Some(broken) if broken.is_foreign_key_violation() => Self::Refused(foreign),
            _ => Self::Database(error),
        }
    }
}
