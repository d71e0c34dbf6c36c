//! With PostgreSQL. `.ci/ticketing` starts one and runs these; `POSTGRES_CTL` is a command that takes `start`, `stop`,
//! `freeze` and `thaw`.

use std::{
    collections::BTreeSet,
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proto::ticketing::Customer;
use service::testing::{Client as Http, Running, bounded};
use tokio::{
    process::Command,
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Status};

use crate::{Client, EXE, all, client, id, named, with};

/// The tests share one server, which some of them stop.
static SERVER: Mutex<()> = Mutex::const_new(());

async fn control(action: &str) {
    let command = env::var("POSTGRES_CTL").expect("run .ci/ticketing");
    let status = bounded(Command::new(command).arg(action).status()).await.unwrap();
    assert!(status.success(), "{action}: {status}");
}

fn url() -> String {
    env::var("TEST_DATABASE_URL").expect("run .ci/ticketing")
}

async fn start(name: &str) -> Running {
    Running::start(EXE, &[("DATABASE_URL", &url()), ("POD_NAME", name)]).await
}

async fn create(client: &mut Client, key: &str) -> Result<Customer, Status> {
    let request = with(named("Ann", key), "idempotency-key", key);
    bounded(client.create_customer(request)).await.map(tonic::Response::into_inner)
}

async fn ready(running: &Running, status: u16) {
    let mut admin = Http::connect(running.admin).await;
    bounded(async {
        while admin.get("/readyz").await.status != status {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/ticketing"]
async fn programs_that_start_together_migrate_once_and_share_customers() {
    let _server = SERVER.lock().await;
    let (one, two, three) = tokio::join!(start("pod-1"), start("pod-2"), start("pod-3"));
    for running in [&one, &two, &three] {
        ready(running, 200).await;
    }
    let created = create(&mut client(&one).await, "shared").await.unwrap();
    assert_eq!(create(&mut client(&two).await, "shared").await.unwrap(), created);
    let found = bounded(client(&three).await.get_customer(id(&created.id))).await.unwrap().into_inner();
    assert_eq!(found, created);
}

async fn is_unavailable_within_a_second(client: &mut Client) {
    for _ in 0..3 {
        let began = Instant::now();
        let status = create(client, "away").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}: {status}", began.elapsed());
    }
    // What needs no database is answered.
    assert_eq!(bounded(client.get_customer(id(""))).await.unwrap().into_inner().id, "pod-1");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/ticketing"]
async fn a_database_that_stops_or_freezes_is_unavailable_within_a_second_and_recovers() {
    let _server = SERVER.lock().await;
    let running = start("pod-1").await;
    let mut client = client(&running).await;
    for (away, back) in [("stop", "start"), ("freeze", "thaw")] {
        ready(&running, 200).await;
        let before = create(&mut client, &format!("before {away}").replace(' ', "-")).await.unwrap();
        control(away).await;
        is_unavailable_within_a_second(&mut client).await;
        ready(&running, 503).await;
        is_unavailable_within_a_second(&mut client).await;
        control(back).await;
        ready(&running, 200).await;
        let found = bounded(client.get_customer(id(&before.id))).await.unwrap().into_inner();
        assert_eq!(found, before);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/ticketing"]
async fn a_program_that_starts_before_its_database_serves_when_it_is_there() {
    let _server = SERVER.lock().await;
    control("stop").await;
    let running = start("pod-1").await;
    ready(&running, 503).await;
    control("start").await;
    ready(&running, 200).await;
    create(&mut client(&running).await, "late").await.unwrap();
}

/// Retried with its key until it is acknowledged, each Create makes exactly one customer, though the database and a
/// program stop meanwhile.
#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/ticketing"]
async fn creates_with_retries_make_each_customer_once_through_a_stop_of_the_database_and_of_a_program() {
    let _server = SERVER.lock().await;
    let (one, two) = tokio::join!(start("pod-1"), start("pod-2"));
    ready(&one, 200).await;
    ready(&two, 200).await;
    let addrs = [one.listen, two.listen];
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..8_usize {
        let stop = Arc::clone(&stop);
        writers.spawn(async move {
            let channel =
                |addr| tonic::transport::Endpoint::new(format!("http://{addr}")).unwrap().connect_lazy();
            let mut clients = addrs.map(|addr| Client::new(channel(addr)));
            let (mut acknowledged, mut attempts) = (Vec::new(), writer);
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("retry-{writer}-{number}");
                // The next attempt goes to the other program.
                let customer = loop {
                    attempts += 1;
                    match create(&mut clients[attempts % 2], &key).await {
                        Ok(customer) => break customer,
                        Err(_) => sleep(Duration::from_millis(20)).await,
                    }
                };
                acknowledged.push(customer);
            }
            acknowledged
        });
    }
    sleep(Duration::from_millis(500)).await;
    control("stop").await;
    sleep(Duration::from_millis(500)).await;
    control("start").await;
    ready(&two, 200).await;
    one.signal(service::testing::Signal::KILL);
    sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<Customer> = writers.join_all().await.into_iter().flatten().collect();
    let ids: BTreeSet<_> = acknowledged.iter().map(|it| it.id.clone()).collect();
    assert_eq!(ids.len(), acknowledged.len(), "one customer was acknowledged to two Creates");
    let stored = all(&mut client(&two).await, 1000).await;
    let of_this_test: Vec<_> = stored.values().filter(|it| it.last_name.starts_with("retry-")).collect();
    let names: BTreeSet<_> = of_this_test.iter().map(|it| &it.last_name).collect();
    assert_eq!(names.len(), of_this_test.len(), "a Create made two customers");
    for customer in &acknowledged {
        assert_eq!(stored.get(&customer.id), Some(customer));
    }
    println!("acknowledged {}, stored {}", acknowledged.len(), of_this_test.len());
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
}
