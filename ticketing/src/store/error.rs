//! Failures of the database, and the statuses that callers get. Callers get no text of the database: it may contain
//! addresses and statements, and is logged.

use sqlx::{error::DatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};
use tonic::Status;
use tracing::{error, warn};

/// A failure of the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server did not answer a statement in time.
    #[error("a statement timed out")]
    Timeout,
    /// The customer of a repeated Create was deleted between two statements.
    #[error("the customer with this key was deleted in the meantime")]
    Conflict,
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The classes of PostgreSQL's SQLSTATE that a later attempt may avoid: connection failures, a server that lacks
/// resources or is told to stop, cancelled statements, rolled back transactions.
const TRANSIENT_CLASSES: [&str; 4] = ["08", "40", "53", "57"];

/// A server that became a standby in a failover refuses writes.
const READ_ONLY: &str = "25006";

/// SQLite's primary result codes SQLITE_BUSY and SQLITE_LOCKED.
const SQLITE_LOCKED: [i32; 2] = [5, 6];

// === impl Error ===

impl Error {
    /// Returns whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Timeout | Self::Conflict => true,
            Self::Migrate(sqlx::migrate::MigrateError::Execute(error)) | Self::Database(error) => {
                transient(error)
            }
            Self::Migrate(_) => false,
        }
    }

    /// Returns whether another program holds a lock of the SQLite file.
    pub(crate) fn is_locked(&self) -> bool {
        match self {
            Self::Database(error) => error.as_database_error().is_some_and(locked),
            _ => false,
        }
    }
}

fn transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => transient_in_database(error.as_ref()),
        _ => false,
    }
}

fn transient_in_database(error: &dyn DatabaseError) -> bool {
    let Some(code) = error.code() else { return false };
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return code == READ_ONLY || TRANSIENT_CLASSES.iter().any(|class| code.starts_with(class));
    }
    locked(error)
}

fn locked(error: &dyn DatabaseError) -> bool {
    let code = error.try_downcast_ref::<SqliteError>().and_then(|error| error.code()?.parse::<i32>().ok());
    // An extended code has the primary one in its low byte.
    code.is_some_and(|code| SQLITE_LOCKED.contains(&(code & 0xff)))
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if error.is_transient() {
            warn!(%error, "a query failed");
            Self::unavailable(match &error {
                Error::Database(sqlx::Error::PoolTimedOut) => {
                    "the database is not available: no connection was free in time, try again"
                }
                Error::Timeout => "the database is not available: it did not answer in time, try again",
                _ => "the database is not available: try again",
            })
        } else {
            error!(%error, "a query failed");
            Self::internal("the database refused the query: its error is in the server's log")
        }
    }
}
