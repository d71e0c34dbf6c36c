//! The gateway's metrics of its channels to the gRPC backends.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod harness;

use harness::{
    InProcess,
    client::{get, problem},
    gateway,
    grpc_backend::{grpc_backend, introduction},
    ipv4, refusing,
};
use service::testing::Exposition;
use tonic::Status;

const METHOD: (&str, &str) = ("grpc_method", "hello.Hello/SayHello");

fn scrape(gateway: &InProcess) -> Exposition {
    Exposition::parse(&gateway.instance.metrics.render().unwrap())
}

#[tokio::test]
async fn each_routes_channel_has_series_of_its_own() {
    let backend = grpc_backend(|caller| {
        Box::pin(async move {
            if caller == "bad" {
                Err(Status::invalid_argument("bad"))
            } else {
                Ok(introduction(caller, "pod-1"))
            }
        })
    })
    .await;
    let target = backend.target().to_string();
    let gateway = gateway(|config| {
        config.grpc_target = target.parse().unwrap();
        config.grpc_call_metrics = true;
        // Both routes have the same target, so that their series differ only in the label `route`.
        let policy = r#"{"loadBalancingConfig":[{"pick_first":{}}]}"#;
        config.grpc_routes = format!(r#"[{{"name":"a \"b\"","serviceConfig":{policy}}}]"#).parse().unwrap();
    })
    .await;
    for _ in 0..3 {
        assert_eq!(get(gateway.addr, "/hellogrpc?name=Ann").await.status, 200);
    }
    problem(&get(gateway.addr, "/hellogrpc?name=bad").await, 400);
    assert_eq!(get(gateway.addr, "/hellogrpc?name=Ann&via=a+%22b%22").await.status, 200);

    let read = scrape(&gateway);
    for (route, calls) in [("default", 4.0), ("a \"b\"", 1.0)] {
        let labels = [("route", route), ("grpc_target", &*target), METHOD];
        assert_eq!(read.value("grpc_client_attempt_started_total", &labels), Some(calls), "{route}");
        let labels = [("route", route), ("grpc_target", &*target)];
        assert_eq!(read.value("grpc_subchannel_open_connections", &labels), Some(1.0), "{route}");
        assert_eq!(
            read.value("grpc_subchannel_connection_attempts_succeeded_total", &labels),
            Some(1.0),
            "{route}"
        );
    }
    let ended = |name: &str, status| {
        let labels = [("route", "default"), ("grpc_target", &*target), METHOD, ("grpc_status", status)];
        read.value(name, &labels)
    };
    assert_eq!(ended("grpc_client_call_duration_seconds_count", "OK"), Some(3.0));
    assert_eq!(ended("grpc_client_call_duration_seconds_count", "INVALID_ARGUMENT"), Some(1.0));
    // The tag, the length and the name take 5 bytes per message.
    let sent = 3.0 * 5.0;
    let size = "grpc_client_attempt_sent_total_compressed_message_size_bytes";
    assert_eq!(ended(&format!("{size}_sum"), "OK"), Some(sent));
    assert_eq!(read.kind(size), Some("histogram"));
    assert_eq!(read.kind("grpc_subchannel_open_connections"), Some("gauge"));
    assert_eq!(read.kind("grpc_lb_pick_first_connection_attempts_succeeded_total"), Some("counter"));
}

#[tokio::test]
async fn channel_without_call_metrics_has_connection_metrics() {
    let target = ipv4(refusing()).to_string();
    let gateway = gateway(|config| config.grpc_target = target.parse().unwrap()).await;
    problem(&get(gateway.addr, "/hellogrpc").await, 503);
    let failed = || {
        let read = scrape(&gateway);
        assert!(!read.families().any(|family| family.starts_with("grpc_client_")));
        let route = [("route", "default")];
        assert_eq!(read.value("helloserve_resolver_endpoints", &route), Some(1.0));
        assert_eq!(read.value("helloserve_resolver_failing", &route), Some(0.0));
        assert!(read.value("helloserve_resolver_age_seconds", &route).unwrap() >= 0.0);
        for reason in ["hedge", "policy", "transparent"] {
            let labels = [("route", "default"), ("reason", reason)];
            assert!(read.value("helloserve_retries_total", &labels).is_some(), "{reason}");
        }
        let labels = [("route", "default"), ("grpc_target", &*target)];
        read.value("grpc_subchannel_connection_attempts_failed_total", &labels).unwrap()
    };
    assert!(failed() >= 1.0, "the call failed because the connection did");
}
