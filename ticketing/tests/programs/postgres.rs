//! With PostgreSQL. `.ci/ticketing` starts one and runs these; `POSTGRES_CTL` is a command that takes `start`, `stop`,
//! `freeze` and `thaw`.

use std::{env, time::Duration};

use proto::ticketing::Customer;
use service::testing::{Client as Http, Running, bounded};
use tokio::{
    process::Command,
    sync::Mutex,
    time::{Instant, sleep},
};
use tonic::{Code, Status};

use crate::{Client, EXE, client, id, named, with};

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
    // A call that needs no database is answered.
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
