//! A pod is killed while requests go through the gateway: over its default channel, and over one without retries.

use std::{net::SocketAddr, sync::Arc};

use service::testing::Client;
use tonic::Status;

use super::{
    callers::{CALLERS, Call, Load, until},
    pods::{Pods, name, program},
};

/// Returns a function that GETs a path of the gateway, each time over a new connection.
fn through(gateway: SocketAddr, path: &'static str) -> Call {
    Arc::new(move || {
        Box::pin(async move {
            let answer = Client::connect(gateway).await.get(path).await;
            if answer.status != 200 {
                return Err(Status::unknown(format!("{} {}", answer.status, answer.body)));
            }
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            Ok(body["response"]["hostname"].as_str().unwrap().to_owned())
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_pod_fails_no_request_with_retries() {
    // Slow enough for calls to be in flight whenever the kill comes.
    let mut pods = Pods::start_with(3, &[("RESPONSE_DELAY", "20ms")]).await;
    let target = pods.target();
    let routes = r#"[{"name": "bare", "serviceConfig": {}}]"#;
    let env = [("GRPC_TARGET", target.as_str()), ("GRPC_ROUTES", routes), ("UPSTREAM_TIMEOUT", "20s")];
    let gateway = program("helloserve", &env).await;
    let retried = Load::start(&through(gateway.listen, "/hellogrpc"));
    let bare = Load::start(&through(gateway.listen, "/hellogrpc?via=bare"));
    let before = [retried.calls(150).await, bare.calls(150).await];
    for counts in before {
        assert_eq!((counts.answered.contains_key(&name(3)), counts.failed), (true, Vec::new()));
    }

    pods.kill(3).await;
    // The kill has an effect: calls that were in flight on the channel without retries are lost.
    until(|| !bare.counts().failed.is_empty()).await;
    let after = retried.calls(300).await;
    assert_eq!(after.failed, Vec::<String>::new());
    let lost = bare.calls(300).await.failed;
    assert!(lost.len() <= 2 * CALLERS, "{} requests failed: {:?}", lost.len(), lost.first());
    println!("0 requests failed with retries; {} without: {}", lost.len(), lost[0]);
}
