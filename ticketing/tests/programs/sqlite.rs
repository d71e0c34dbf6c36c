//! Programs on one SQLite file.

use std::{collections::BTreeSet, path::Path};

use service::testing::{Running, Signal, bounded};
use tokio::task::JoinSet;
use tonic::Code;

use crate::{EXE, all, client, id, named, with};

/// Creates of each writer.
const CREATES: usize = 25;

async fn start(folder: &Path) -> Running {
    let url = format!("sqlite:{}", folder.join("customers.db").display());
    // Both timeouts are longer than the tests on a loaded machine: what fails here fails for another reason.
    let env = [("DATABASE_URL", url.as_str()), ("ACQUIRE_TIMEOUT", "60s"), ("STATEMENT_TIMEOUT", "60s")];
    Running::start(EXE, &env).await
}

#[tokio::test]
async fn two_programs_with_eight_writers_on_one_file_lock_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    // Started together: both want to migrate.
    let (one, two) = tokio::join!(start(folder.path()), start(folder.path()));
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let mut client = client([&one, &two][writer % 2]).await;
        writers.spawn(async move {
            let mut ids = Vec::new();
            for number in 0..CREATES {
                let request = named(&format!("Writer {writer}"), &format!("Customer {number}"));
                ids.push(bounded(client.create_customer(request)).await.unwrap().into_inner().id);
            }
            ids
        });
    }
    let created: BTreeSet<String> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(created.len(), 8 * CREATES);
    for running in [&one, &two] {
        assert_eq!(all(&mut client(running).await, 30).await.into_keys().collect::<BTreeSet<_>>(), created);
    }
}

#[tokio::test]
async fn the_same_key_at_two_programs_makes_one_customer() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(start(folder.path()), start(folder.path()));
    let (mut at_one, mut at_two) = (client(&one).await, client(&two).await);
    for number in 0..CREATES {
        let request = || with(named("Ann", "Lee"), "idempotency-key", &format!("key-{number}"));
        let (first, second) =
            tokio::join!(at_one.create_customer(request()), at_two.create_customer(request()));
        assert_eq!(first.unwrap().into_inner(), second.unwrap().into_inner());
    }
    assert_eq!(all(&mut at_one, 0).await.len(), CREATES);
}

#[tokio::test]
async fn a_killed_program_loses_no_acknowledged_customer() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let running = start(folder.path()).await;
        let mut writers = JoinSet::new();
        let (sender, mut acknowledgements) = tokio::sync::mpsc::unbounded_channel();
        for writer in 0..4 {
            let (mut client, sender) = (client(&running).await, sender.clone());
            writers.spawn(async move {
                for number in 0.. {
                    let request =
                        named(&format!("Writer {writer} of {round}"), &format!("Customer {number}"));
                    match client.create_customer(request).await {
                        Ok(answer) => sender.send(answer.into_inner().id).unwrap(),
                        Err(_) => break,
                    }
                }
            });
        }
        drop(sender);
        // In the middle of Creates.
        for _ in 0..20 {
            acknowledged.insert(bounded(acknowledgements.recv()).await.unwrap());
        }
        running.signal(Signal::KILL);
        while let Some(id) = bounded(acknowledgements.recv()).await {
            acknowledged.insert(id);
        }
        writers.join_all().await;
        running.exit().await;
    }
    let running = start(folder.path()).await;
    let stored: BTreeSet<_> = all(&mut client(&running).await, 0).await.into_keys().collect();
    assert!(acknowledged.is_subset(&stored), "lost: {:?}", acknowledged.difference(&stored));
    assert!(acknowledged.len() >= 60);
}

#[tokio::test]
async fn a_write_that_waits_too_long_is_unavailable_and_succeeds_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.db");
    let url = format!("sqlite:{}", path.display());
    let env = [("DATABASE_URL", url.as_str()), ("STATEMENT_TIMEOUT", "50ms"), ("ACQUIRE_TIMEOUT", "60s")];
    let running = Running::start(EXE, &env).await;
    let mut client = client(&running).await;
    let created = bounded(client.create_customer(named("Ann", "Lee"))).await.unwrap().into_inner();

    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let lock = sqlx::Connection::begin_with(&mut other, "BEGIN IMMEDIATE").await.unwrap();
    let status = bounded(client.create_customer(named("Bob", "Ray"))).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "the database is not available: try again")
    );
    // Readers do not wait for a writer.
    assert_eq!(bounded(client.get_customer(id(&created.id))).await.unwrap().into_inner(), created);
    lock.rollback().await.unwrap();
    bounded(client.create_customer(named("Bob", "Ray"))).await.unwrap();
}
