//! Opens the database that the flags name, and migrates it.

use std::{borrow::Cow, str::FromStr as _, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, SqlStr, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::{self, Instant, timeout};

use super::{Error, Pools, QueryLatency, Store};
use crate::Config;

/// The time that an SQLite file may be busy while several programs open it together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait before a busy file is opened again.
const OPEN_BACKOFF: Duration = Duration::from_millis(20);

/// The time that SQLite tries to get the write lock before the store repeats the statement. SQLite's own wait sleeps up to
/// 100 ms between its attempts: another program that writes all the time would hold the lock at nearly each of them.
const LOCK_ATTEMPT: Duration = Duration::from_millis(2);

/// The time that PostgreSQL may take for all migrations.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(10);

const SQLITE_MIGRATIONS: [(&str, &str); 1] =
    [("customers", include_str!("../../migrations/1_customers.sqlite.sql"))];
const POSTGRES_MIGRATIONS: [(&str, &str); 1] =
    [("customers", include_str!("../../migrations/1_customers.postgres.sql"))];

// === impl Store ===

impl Store {
    /// Opens the database: SQLite at once, PostgreSQL with the first statement.
    ///
    /// # Errors
    ///
    /// Fails if the URL cannot be parsed, or if the SQLite file cannot be opened. The sentence does not contain the URL, which
    /// may have a password in it.
    pub(crate) async fn open(config: &Config, metrics: &service::Metrics) -> Result<Self, String> {
        let url = config.database_url.as_str();
        let invalid = |error: sqlx::Error| format!("DATABASE_URL is invalid: {error}");
        let pools = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => {
                let options = PgConnectOptions::from_str(url).map_err(invalid)?;
                postgres(config, options)
            }
            Some("sqlite") => {
                let options = SqliteConnectOptions::from_str(url).map_err(invalid)?;
                let in_memory = url.contains(":memory:") || url.contains("mode=memory");
                sqlite(config, options, in_memory).await?
            }
            _ => return Err("DATABASE_URL must begin with sqlite: or postgres://".to_owned()),
        };
        Ok(Self { pools, statement_timeout: config.statement_timeout, latency: QueryLatency::new(metrics) })
    }

    /// Brings the schema up to date. Safe when several programs do it together.
    pub(crate) async fn migrate(&self) -> Result<(), Error> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => {
                let deadline = Instant::now() + self.statement_timeout;
                loop {
                    match migrate_sqlite(writer).await {
                        Err(error) if error.is_locked() && Instant::now() < deadline => {}
                        result => break result?,
                    }
                }
            }
            Pools::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                // sqlx holds an advisory lock meanwhile. After a failure only the end of the session releases it.
                let migrator = migrator(&POSTGRES_MIGRATIONS);
                let run = migrator.run_direct(None, &mut *connection, false);
                let result = timeout(MIGRATION_TIMEOUT, run).await;
                if !matches!(result, Ok(Ok(()))) {
                    drop(connection.detach());
                }
                result.map_err(|_| Error::Timeout)??;
            }
        }
        self.probe().await
    }
}

/// Holds the write lock while it reads which migrations are applied, and until the last one is.
async fn migrate_sqlite(writer: &SqlitePool) -> Result<(), Error> {
    let mut connection = writer.acquire().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    migrator(&SQLITE_MIGRATIONS).run_direct(None, &mut *transaction, false).await?;
    Ok(transaction.commit().await?)
}

fn postgres(config: &Config, options: PgConnectOptions) -> Pools {
    let timeout = format!("{}ms", config.statement_timeout.as_millis().max(1));
    let options = options
        .application_name("ticketing")
        .options([("statement_timeout", timeout)])
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(config.pool_size)
        .acquire_timeout(config.acquire_timeout)
        .connect_lazy_with(options);
    Pools::Postgres(pool)
}

async fn sqlite(config: &Config, options: SqliteConnectOptions, in_memory: bool) -> Result<Pools, String> {
    let options = options
        .create_if_missing(true)
        .busy_timeout(config.statement_timeout)
        // Acknowledged customers survive a loss of power.
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    // Connections are never closed: with the last one a database in memory is gone.
    let pool = SqlitePoolOptions::new()
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None);
    let only = pool.clone().max_connections(1);
    if in_memory {
        let writer = only.connect_lazy_with(options);
        return Ok(Pools::Sqlite { readers: writer.clone(), writer });
    }
    // Readers and the writer do not wait for each other.
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let writer = only.connect_lazy_with(options.clone().busy_timeout(LOCK_ATTEMPT));
    first_connection(&writer).await?;
    let readers = pool.max_connections(config.pool_size).connect_lazy_with(options);
    Ok(Pools::Sqlite { writer, readers })
}

/// Opens the file, which sets its journal mode. SQLite does not wait while another program does the same.
async fn first_connection(writer: &SqlitePool) -> Result<(), String> {
    let deadline = Instant::now() + OPEN_TIMEOUT;
    loop {
        match writer.acquire().await {
            Ok(_) => return Ok(()),
            Err(error) => {
                let error = Error::from(error);
                if !error.is_transient() || Instant::now() > deadline {
                    return Err(format!("opening the SQLite file of DATABASE_URL failed: {error}"));
                }
                time::sleep(OPEN_BACKOFF).await;
            }
        }
    }
}

/// Returns the migrator. It ignores migrations that it does not have: in a rollback an older program meets the schema of
/// a newer one.
fn migrator(migrations: &[(&'static str, &'static str)]) -> Migrator {
    let migrations = (1..).zip(migrations).map(|(version, (description, sql))| {
        let description = Cow::Borrowed(*description);
        Migration::new(version, description, MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator
}
