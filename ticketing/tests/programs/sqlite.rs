//! Programs on one SQLite file.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use proto::ticketing::Customer;
use service::testing::{Running, Signal, bounded};
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::{Code, Response, Status};

use crate::{Client, EXE, all, client, id, named, with};

/// Creates at one program, after which the writers stop.
const CREATES: usize = 100;

/// Keys that are used at both programs.
const KEYS: usize = 25;

async fn start(folder: &Path) -> Running {
    let url = format!("sqlite:{}", folder.join("customers.db").display());
    // Both timeouts are longer than the tests on a loaded machine: what fails here fails for another reason.
    let env = [("DATABASE_URL", url.as_str()), ("ACQUIRE_TIMEOUT", "60s"), ("STATEMENT_TIMEOUT", "60s")];
    Running::start(EXE, &env).await
}

#[tokio::test]
async fn eight_writers_at_two_programs_on_one_file_all_succeed_and_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    // Started together: both want to migrate.
    let (one, two) = tokio::join!(start(folder.path()), start(folder.path()));
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let (mut client, counts) = (client([&one, &two][writer % 2]).await, Arc::clone(&counts));
        writers.spawn(async move {
            let mut ids = Vec::new();
            while counts.iter().all(|count| count.load(Ordering::Relaxed) < CREATES) {
                let request = named(&format!("Writer {writer}"), &format!("Customer {}", ids.len()));
                ids.push(bounded(client.create_customer(request)).await.unwrap().into_inner().id);
                counts[writer % 2].fetch_add(1, Ordering::Relaxed);
            }
            ids
        });
    }
    let created: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    let [by_one, by_two] = [&counts[0], &counts[1]].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(created.len(), by_one + by_two);
    assert!(by_one.min(by_two) >= CREATES / 4, "{by_one} at one program, {by_two} at the other");
    let created: BTreeSet<_> = created.into_iter().collect();
    assert_eq!(created.len(), by_one + by_two, "an id was given twice");
    for running in [&one, &two] {
        assert_eq!(all(&mut client(running).await, 30).await.into_keys().collect::<BTreeSet<_>>(), created);
    }
}

#[tokio::test]
async fn the_same_key_at_two_programs_makes_one_customer() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(start(folder.path()), start(folder.path()));
    let (mut at_one, mut at_two) = (client(&one).await, client(&two).await);
    for number in 0..KEYS {
        let request = || with(named("Ann", "Lee"), "idempotency-key", &format!("key-{number}"));
        let (first, second) =
            tokio::join!(at_one.create_customer(request()), at_two.create_customer(request()));
        assert_eq!(first.unwrap().into_inner(), second.unwrap().into_inner());
    }
    assert_eq!(all(&mut at_one, 0).await.len(), KEYS);
}

async fn create(client: &mut Client, name: &(String, String)) -> Result<Customer, Status> {
    let key = format!("{}/{}", name.0, name.1);
    let request = with(named(&name.0, &name.1), "idempotency-key", &key);
    bounded(client.create_customer(request)).await.map(Response::into_inner)
}

/// Creates customers until a Create fails or `stop` is set. Returns the acknowledged customers, and the name of the one
/// whose Create failed.
async fn write(
    writer: String,
    mut client: Client,
    acknowledgements: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
) -> (Vec<Customer>, Option<(String, String)>) {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let name = (writer.clone(), acknowledged.len().to_string());
        match create(&mut client, &name).await {
            Ok(customer) => acknowledged.push(customer),
            Err(status) => {
                assert!(!status.message().contains("locked"), "{status}");
                return (acknowledged, Some(name));
            }
        }
        acknowledgements.add_permits(1);
    }
    (acknowledged, None)
}

/// One program is killed three times in the middle of Creates, while another one writes on. A Create that was not
/// acknowledged is repeated there with its key.
#[tokio::test]
async fn killed_programs_lose_no_acknowledged_customer_and_repeated_creates_make_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let survivor = start(folder.path()).await;
    let mut at_survivor = client(&survivor).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (mut acknowledged, mut repeated) = (Vec::new(), 0);
    let unused = Arc::new(Semaphore::new(0));
    let own = write("survivor".into(), client(&survivor).await, unused, Arc::clone(&stop));
    let own = tokio::spawn(own);
    for round in 0..3 {
        let killed = start(folder.path()).await;
        let acknowledgements = Arc::new(Semaphore::new(0));
        let mut writers = JoinSet::new();
        for number in 0..4 {
            let name = format!("killed-{round}-{number}");
            writers.spawn(write(name, client(&killed).await, Arc::clone(&acknowledgements), Arc::default()));
        }
        // In the middle of Creates.
        bounded(acknowledgements.acquire_many(20)).await.unwrap().forget();
        killed.signal(Signal::KILL);
        for (customers, unfinished) in writers.join_all().await {
            acknowledged.extend(customers);
            acknowledged.push(create(&mut at_survivor, &unfinished.unwrap()).await.unwrap());
            repeated += 1;
        }
        assert_eq!(killed.exit().await.code, None);
    }
    stop.store(true, Ordering::Relaxed);
    let (customers, unfinished) = own.await.unwrap();
    assert_eq!(unfinished, None, "a Create failed at the program that was not killed");
    acknowledged.extend(customers);
    survivor.signal(Signal::KILL);
    survivor.exit().await;

    let restarted = start(folder.path()).await;
    let stored = all(&mut client(&restarted).await, 0).await;
    let names: BTreeSet<_> = stored.values().map(|it| (&it.first_name, &it.last_name)).collect();
    assert_eq!(names.len(), stored.len(), "a Create made two customers");
    for customer in &acknowledged {
        assert_eq!(stored.get(&customer.id), Some(customer), "an acknowledged customer is lost");
    }
    assert_eq!((stored.len(), repeated), (acknowledged.len(), 12));
    println!("acknowledged {}, of them repeated {repeated}; stored {}", acknowledged.len(), stored.len());
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
