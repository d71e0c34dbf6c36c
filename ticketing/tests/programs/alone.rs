//! One program on SQLite in memory: the protocol.

use proto::ticketing::{Customer, ListCustomersRequest};
use service::testing::{Client as Http, Running, Signal, bounded};
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{EXE, all, client, id, named, with};

/// No test of the protocol depends on how fast the machine is.
pub(crate) const PATIENT: [(&str, &str); 3] =
    [("POD_NAME", "pod-1"), ("ACQUIRE_TIMEOUT", "60s"), ("STATEMENT_TIMEOUT", "60s")];

fn hostname(status: &Status) -> Option<&str> {
    status.metadata().get("hostname").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_created_customer_is_returned_by_get_and_list() {
    let running = Running::start(EXE, &PATIENT).await;
    let mut client = client(&running).await;
    let created = bounded(client.create_customer(named("Jürgen", "李"))).await.unwrap();
    assert_eq!(created.metadata().get("hostname").unwrap(), "pod-1");
    let created = created.into_inner();
    assert_eq!((created.first_name.as_str(), created.last_name.as_str()), ("Jürgen", "李"));
    assert_eq!(bounded(client.get_customer(id(&created.id))).await.unwrap().into_inner(), created);
    assert_eq!(all(&mut client, 0).await.into_values().collect::<Vec<_>>(), [created]);
}

#[tokio::test]
async fn get_without_an_id_is_the_stub_with_the_pods_name() {
    for (env, expected) in [(&PATIENT[..], "pod-1"), (&PATIENT[1..], "test")] {
        let running = Running::start(EXE, env).await;
        let answer = bounded(client(&running).await.get_customer(id(""))).await.unwrap().into_inner();
        let expected =
            Customer { id: expected.into(), first_name: "acac".into(), last_name: "accqqq".into() };
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn an_unknown_id_is_not_found() {
    let running = Running::start(EXE, &PATIENT).await;
    let mut client = client(&running).await;
    let created = bounded(client.create_customer(named("Ann", "Lee"))).await.unwrap().into_inner();
    let other_forms = [format!("0{}", created.id), format!("+{}", created.id), format!(" {}", created.id)];
    let unknown = ["999", "-1", "x", "'; DROP TABLE customers; --", "99999999999999999999"];
    for unknown in unknown.into_iter().chain(other_forms.iter().map(String::as_str)) {
        let status = bounded(client.get_customer(id(unknown))).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::NotFound, "no customer has this id"),
            "{unknown}"
        );
        assert_eq!(hostname(&status), Some("pod-1"));
    }
}

#[tokio::test]
async fn pages_have_each_customer_once_in_the_order_of_creation() {
    let running = Running::start(EXE, &PATIENT).await;
    let mut client = client(&running).await;
    let mut created = Vec::new();
    for number in 0..7 {
        let request = named("Ann", &format!("Lee {number}"));
        created.push(bounded(client.create_customer(request)).await.unwrap().into_inner());
    }
    for (page_size, pages) in [(3, &[3, 3, 1][..]), (7, &[7]), (1, &[1; 7]), (0, &[7]), (i32::MAX, &[7])] {
        let (mut token, mut lengths, mut customers) = (String::new(), Vec::new(), Vec::new());
        loop {
            let request = ListCustomersRequest { page_size, page_token: token };
            let page = bounded(client.list_customers(request)).await.unwrap().into_inner();
            lengths.push(page.customers.len());
            customers.extend(page.customers);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((lengths.as_slice(), &customers), (pages, &created), "{page_size}");
    }
}

/// 30 customers with names of full length are 24 kB, more than the default MAX_MESSAGE_SIZE.
#[tokio::test]
async fn customers_that_do_not_fit_a_message_are_on_several_pages() {
    let running = Running::start(EXE, &PATIENT).await;
    let mut client = client(&running).await;
    let name = "é".repeat(200);
    for _ in 0..30 {
        bounded(client.create_customer(named(&name, &name))).await.unwrap();
    }
    let first = bounded(client.list_customers(ListCustomersRequest::default())).await.unwrap().into_inner();
    assert_eq!(first.customers.len(), 20);
    assert_eq!(all(&mut client, 0).await.len(), 30);
}

#[tokio::test]
async fn a_create_with_a_known_key_returns_the_first_ones_customer() {
    let running = Running::start(EXE, &PATIENT).await;
    let mut client = client(&running).await;
    let mut create = async |names: (&str, &str), key, value| {
        let request = with(named(names.0, names.1), key, value);
        bounded(client.create_customer(request)).await.map(|answer| answer.into_inner().id)
    };
    let (ann, bob) = (("Ann", "Lee"), ("Bob", "Ray"));
    let first = create(ann, "idempotency-key", "k1").await.unwrap();
    assert_eq!(create(ann, "idempotency-key", "k1").await.unwrap(), first);
    assert_ne!(create(ann, "idempotency-key", "k2").await.unwrap(), first);
    assert_eq!(create(bob, "idempotency-key", "k1").await.unwrap_err().code(), Code::AlreadyExists);

    // A request id is no key of the caller's choice, and may belong to several Creates.
    let first = create(ann, "x-request-id", "k1").await.unwrap();
    assert_eq!(create(ann, "x-request-id", "k1").await.unwrap(), first);
    assert_ne!(create(bob, "x-request-id", "k1").await.unwrap(), first);
    assert_eq!(all(&mut client, 0).await.len(), 4);
}

#[tokio::test]
async fn health_readiness_and_metrics_cover_the_service() {
    let running = Running::start(EXE, &PATIENT).await;
    let mut client = client(&running).await;
    bounded(client.create_customer(named("Ann", "Lee"))).await.unwrap();
    let endpoint = tonic::transport::Endpoint::new(format!("http://{}", running.listen)).unwrap();
    let mut health = HealthClient::new(bounded(endpoint.connect()).await.unwrap());
    for service in ["", "ticketing.CustomerController"] {
        let request = HealthCheckRequest { service: service.into() };
        let answer = bounded(health.check(request)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let mut admin = Http::connect(running.admin).await;
    assert_eq!(admin.get("/readyz").await.status, 200);
    let metrics = admin.get("/metrics").await.body;
    for line in [
        r#"grpc_server_handled_total{grpc_code="OK",grpc_method="ticketing.CustomerController/CreateCustomer"} 1"#,
        r#"db_query_duration_seconds_count{query="create"} 1"#,
        r#"db_pool_connections{pool="writer",state="idle"} 1"#,
        r#"db_pool_connections{pool="writer",state="in_use"} 0"#,
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} is not in\n{metrics}");
    }
    running.signal(Signal::TERM);
    assert_eq!(running.exit().await.code, Some(0));
}
