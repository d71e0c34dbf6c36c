//! Bad requests, flags and databases: the status or the exit code, and the sentence.

use std::{fs, path::Path};

use proto::ticketing::ListCustomersRequest;
use service::testing::{Client as Http, Exit, Running, bounded, exit_of};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{EXE, all, alone::PATIENT, client, named, with};

fn fields(status: &Status) -> Vec<String> {
    status.get_details_bad_request().unwrap().field_violations.into_iter().map(|it| it.field).collect()
}

#[tokio::test]
async fn a_bad_field_is_an_invalid_argument_that_names_it() {
    let running = Running::start(EXE, &PATIENT).await;
    let mut client = client(&running).await;
    let long = "x".repeat(201);
    for (request, fields, message) in [
        (named("", "Lee"), &["first_name"][..], "first_name is empty"),
        (named("Ann", &long), &["last_name"], "last_name has 201 characters, at most 200 are allowed"),
        (
            named("A\nnn", " "),
            &["first_name", "last_name"],
            "first_name contains the control character \\u{a}; last_name is empty",
        ),
    ] {
        let status = bounded(client.create_customer(request)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message));
        assert_eq!(self::fields(&status), fields);
    }
    let bad_token = "page_token is not a next_page_token of this service: leave it empty for the first page";
    for (page_size, page_token, field, message) in [
        (-1, "", "page_size", "page_size is -1: it must not be negative"),
        (i32::MIN, "", "page_size", "page_size is -2147483648: it must not be negative"),
        (1, "nonsense", "page_token", bad_token),
        (1, &"0".repeat(10_000), "page_token", bad_token),
    ] {
        let request = ListCustomersRequest { page_size, page_token: page_token.into() };
        let status = bounded(client.list_customers(request)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message));
        assert_eq!(fields(&status), [field]);
    }
    assert!(all(&mut client, 0).await.is_empty());
}

#[tokio::test]
async fn a_bad_idempotency_key_is_refused_and_creates_nothing() {
    let running = Running::start(EXE, &PATIENT).await;
    let mut client = client(&running).await;
    for key in ["", "two words", &"x".repeat(129), &"x".repeat(4000)] {
        let request = with(named("Ann", "Lee"), "idempotency-key", key);
        let status = bounded(client.create_customer(request)).await.unwrap_err();
        let message = "idempotency-key must be 1 to 128 visible ASCII characters";
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message));
        assert_eq!(fields(&status), ["idempotency-key"]);
    }
    // More than MAX_HEADER_LIST_SIZE does not reach the service.
    let request = with(named("Ann", "Lee"), "idempotency-key", &"x".repeat(20_000));
    assert!(bounded(client.create_customer(request)).await.is_err());
    assert!(all(&mut client, 0).await.is_empty());

    bounded(client.create_customer(with(named("Ann", "Lee"), "idempotency-key", "k"))).await.unwrap();
    let status =
        bounded(client.create_customer(with(named("Bob", "Ray"), "idempotency-key", "k"))).await.unwrap_err();
    let message =
        "the idempotency-key was used for a customer with other names: use a new key for each customer";
    assert_eq!((status.code(), status.message()), (Code::AlreadyExists, message));
    assert_eq!(all(&mut client, 0).await.len(), 1);
}

#[tokio::test]
async fn a_request_over_the_size_limit_is_out_of_range() {
    let running = Running::start(EXE, &PATIENT).await;
    let mut client = client(&running).await;
    let status = bounded(client.create_customer(named(&"x".repeat(20_000), "Lee"))).await.unwrap_err();
    let message = "Error, decoded message length too large: found 20009 bytes, the limit is: 16384 bytes";
    assert_eq!((status.code(), status.message()), (Code::OutOfRange, message));
    // The connection serves on.
    bounded(client.create_customer(named("Ann", "Lee"))).await.unwrap();
}

/// A page has one customer even then, so that the status says what is too large.
#[tokio::test]
async fn a_customer_that_does_not_fit_a_message_is_out_of_range() {
    let running = Running::start(EXE, &[&PATIENT[..], &[("MAX_MESSAGE_SIZE", "590")]].concat()).await;
    let mut client = client(&running).await;
    let name = "é".repeat(145);
    bounded(client.create_customer(named(&name, &name))).await.unwrap();
    let status = bounded(client.list_customers(ListCustomersRequest::default())).await.unwrap_err();
    let message = "Error, encoded message length too large: found 592 bytes, the limit is: 590 bytes";
    assert_eq!((status.code(), status.message()), (Code::OutOfRange, message));
}

#[tokio::test]
async fn a_bad_flag_is_one_line_that_names_it() {
    for (name, value) in [("POOL_SIZE", "0"), ("ACQUIRE_TIMEOUT", "1"), ("STATEMENT_TIMEOUT", "x")] {
        let exit = exit_of(EXE, &[], &[(name, value)]).await;
        assert_eq!((exit.code, exit.stderr.lines().count()), (Some(2), 1), "{}", exit.stderr);
        assert!(exit.stderr.contains(&format!("<{name}>")), "{}", exit.stderr);
    }
}

/// The URL may have a password in it.
#[tokio::test]
async fn a_bad_database_url_is_one_line_without_the_url() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.db");
    fs::write(&garbage, "no database, but longer than the header of one".repeat(10)).unwrap();
    let sqlite = |path: &Path| format!("sqlite:{}", path.display());
    let opening = "opening the SQLite file of DATABASE_URL failed: error returned from database:";
    let cannot_open = &format!("{opening} (code: 14) unable to open database file");
    for (url, problem) in [
        ("", "DATABASE_URL must begin with sqlite: or postgres://"),
        ("mysql://u:secret@h/d", "DATABASE_URL must begin with sqlite: or postgres://"),
        ("secret", "DATABASE_URL must begin with sqlite: or postgres://"),
        (
            "postgres://u:secret@h:port/d",
            "DATABASE_URL is invalid: error with configuration: invalid port number",
        ),
        (
            "sqlite:file?mode=secret",
            "DATABASE_URL is invalid: error with configuration: unknown value \"secret\" for `mode`",
        ),
        ("sqlite:/no/such/secret/folder/file", cannot_open),
        // No user can create a file there.
        ("sqlite:/proc/secret", cannot_open),
        (&sqlite(folder.path()), cannot_open),
        (&sqlite(&garbage), &format!("{opening} (code: 26) file is not a database")),
    ] {
        let env = [
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("ADMIN_ADDR", ""),
            ("LOG_FILTER", "off"),
            ("DATABASE_URL", url),
        ];
        let exit = exit_of(EXE, &[], &env).await;
        let stderr = format!("ticketing: {problem}\n");
        assert_eq!(exit, Exit { code: Some(1), stderr, stdout: String::new() }, "{url}");
    }
}

/// In a rollback, an older program meets the schema of a newer one.
#[tokio::test]
async fn a_migration_of_a_newer_version_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("customers.db");
    let url = format!("sqlite:{}", file.display());
    let env = [&PATIENT[..], &[("DATABASE_URL", &url)]].concat();
    let running = Running::start(EXE, &env).await;
    bounded(client(&running).await.create_customer(named("Ann", "Lee"))).await.unwrap();
    drop(running);
    let newer = "ALTER TABLE customers ADD COLUMN email TEXT; \
                 INSERT INTO _sqlx_migrations VALUES (2, 'email', CURRENT_TIMESTAMP, TRUE, x'00', 1)";
    let mut newer_program = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    sqlx::raw_sql(newer).execute(&mut newer_program).await.unwrap();

    let running = Running::start(EXE, &env).await;
    let mut client = client(&running).await;
    bounded(client.create_customer(named("Bob", "Ray"))).await.unwrap();
    assert_eq!(all(&mut client, 0).await.len(), 2);
}

#[tokio::test]
async fn a_schema_of_another_program_is_not_ready_and_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("customers.db");
    let url = format!("sqlite:{}", file.display());
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut other = options.connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE customers (id TEXT)").execute(&mut other).await.unwrap();

    let running = Running::start(EXE, &[&PATIENT[..], &[("DATABASE_URL", &url)]].concat()).await;
    let mut admin = Http::connect(running.admin).await;
    bounded(async {
        loop {
            let answer = admin.get("/readyz").await;
            assert_eq!(answer.status, 503, "{answer:?}");
            if answer.body.contains("table customers already exists") {
                break;
            }
        }
    })
    .await;
    let status = bounded(client(&running).await.create_customer(named("Ann", "Lee"))).await.unwrap_err();
    let message = "the database is not available: try again";
    assert_eq!((status.code(), status.message()), (Code::Unavailable, message));
}
