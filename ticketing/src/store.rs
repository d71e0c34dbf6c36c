//! The customers, in SQLite or PostgreSQL. Both have `$1` parameters, `ON CONFLICT` and `RETURNING`, so the statements
//! are the same.

mod error;
mod latency;
mod open;

use std::time::Duration;

use sqlx::{PgPool, Pool, SqlitePool};
use tokio::time::{Instant, timeout};

pub(crate) use self::error::Error;
use self::latency::QueryLatency;

const GET: &str = "SELECT number, first_name, last_name FROM customers WHERE number = $1";
const CREATE: &str = "INSERT INTO customers (first_name, last_name, idempotency_key) VALUES ($1, $2, $3) \
                      ON CONFLICT (idempotency_key) DO NOTHING RETURNING number, first_name, last_name";
const BY_KEY: &str = "SELECT number, first_name, last_name FROM customers WHERE idempotency_key = $1";
const LIST: &str =
    "SELECT number, first_name, last_name FROM customers WHERE number > $1 ORDER BY number LIMIT $2";
const PROBE: &str = "SELECT number, first_name, last_name FROM customers LIMIT 1";

/// The time beyond PostgreSQL's own statement timeout after which the store stops waiting for an answer.
const STATEMENT_TIMEOUT_MARGIN: Duration = Duration::from_millis(100);

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) number: i64,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
}

/// The number, first name and last name of a customer.
type Columns = (i64, String, String);

/// The result of a Create.
#[derive(Debug)]
pub(crate) enum Created {
    /// The new customer, or the one that the first Create with the same key made.
    Customer(Row),
    /// The key belongs to a customer with other names.
    KeyReused,
}

/// The connections of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) in_use: i64,
    pub(crate) idle: i64,
}

/// The customers.
#[derive(Debug)]
pub(crate) struct Store {
    pools: Pools,
    statement_timeout: Duration,
    latency: QueryLatency,
}

#[derive(Debug)]
enum Pools {
    /// SQLite has one writer at a time: one connection makes the writes of this program wait in a fair queue.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

/// Runs a query on a connection to the database, within the store's timeouts, and returns what `$fetch` does: all rows, or
/// the first one.
macro_rules! query {
    ($store:ident, $pool:ident, $fetch:ident, $sql:expr, [$($bind:expr),*]) => {
        match &$store.pools {
            // A statement of SQLite waits only for locks.
            Pools::Sqlite { $pool, .. } => {
                let mut connection = $pool.acquire().await?;
                let deadline = Instant::now() + $store.statement_timeout;
                loop {
                    match sqlx::query_as($sql)$(.bind($bind))*.$fetch(&mut *connection).await.map_err(Error::from) {
                        Err(error) if error.is_locked() && Instant::now() < deadline => {}
                        result => break result?,
                    }
                }
            }
            Pools::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                let query = sqlx::query_as($sql)$(.bind($bind))*.$fetch(&mut *connection);
                let Ok(result) = timeout($store.statement_timeout + STATEMENT_TIMEOUT_MARGIN, query).await else {
                    // The pool would wait for an answer on it.
                    drop(connection.detach());
                    return Err(Error::Timeout);
                };
                result?
            }
        }
    };
}

// === impl Store ===

impl Store {
    /// Returns the customer with this number.
    pub(crate) async fn get(&self, number: i64) -> Result<Option<Row>, Error> {
        let started = Instant::now();
        let row: Option<Columns> = query!(self, readers, fetch_optional, GET, [number]);
        self.latency.get.observe(started.elapsed().as_secs_f64());
        Ok(row.map(Row::from))
    }

    /// Adds a customer, unless one with this key is there.
    pub(crate) async fn create(
        &self,
        first_name: String,
        last_name: String,
        key: Option<String>,
    ) -> Result<Created, Error> {
        let started = Instant::now();
        // Each statement is a transaction: after a conflict the first customer is committed, and BY_KEY sees it.
        // SQLite commits it after its last row.
        let created: Vec<Columns> = query!(self, writer, fetch_all, CREATE, [&first_name, &last_name, &key]);
        let mut row = created.into_iter().next();
        if row.is_none() {
            row = query!(self, readers, fetch_optional, BY_KEY, [&key]);
        }
        self.latency.create.observe(started.elapsed().as_secs_f64());
        // The customer with the conflicting key was deleted in the meantime.
        let row = Row::from(row.ok_or(Error::Conflict)?);
        let same = row.first_name == first_name && row.last_name == last_name;
        Ok(if same { Created::Customer(row) } else { Created::KeyReused })
    }

    /// Returns up to `limit` customers after the number `after`, in the order of their numbers.
    pub(crate) async fn list(&self, after: i64, limit: u32) -> Result<Vec<Row>, Error> {
        let started = Instant::now();
        let rows: Vec<Columns> = query!(self, readers, fetch_all, LIST, [after, i64::from(limit)]);
        self.latency.list.observe(started.elapsed().as_secs_f64());
        Ok(rows.into_iter().map(Row::from).collect())
    }

    /// Checks that customers can be read.
    pub(crate) async fn probe(&self) -> Result<(), Error> {
        let _row: Option<Columns> = query!(self, readers, fetch_optional, PROBE, []);
        Ok(())
    }

    /// Returns the connections of each pool.
    pub(crate) fn usage(&self) -> Vec<(&'static str, Usage)> {
        fn of<D: sqlx::Database>(pool: &Pool<D>) -> Usage {
            let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
            Usage { in_use: (i64::from(pool.size()) - idle).max(0), idle }
        }
        match &self.pools {
            Pools::Sqlite { writer, readers } => vec![("writer", of(writer)), ("readers", of(readers))],
            Pools::Postgres(pool) => vec![("postgres", of(pool))],
        }
    }

    /// Closes all connections, so that SQLite folds its log into the file.
    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

// === impl Row ===

impl From<Columns> for Row {
    fn from((number, first_name, last_name): Columns) -> Self {
        Self { number, first_name, last_name }
    }
}
