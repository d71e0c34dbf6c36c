//! Errors of the Kubernetes API: each is one sentence, in the snapshot and in the status of calls, and the channel
//! recovers by itself.

use backend::fails;
use service::testing::api_server::Behaviour;
use tonic::Code;

use super::*;

/// Returns the error of a channel's first attempt, from the snapshot and from a call.
async fn first_complaint(cluster: &Cluster, words: &str) -> (Channel, String) {
    cluster.list("svc-a", [0]);
    let channel = cluster.channel("grpc");
    let error = resolver_error(&channel, words).await;
    let (code, message) = fails(&channel, "").await;
    assert_eq!(code, Code::Unavailable);
    assert_eq!(message, format!("kubernetes:///svc:grpc: {error}"));
    (channel, error)
}

#[tokio::test]
async fn a_missing_permission_says_which_role_is_needed_until_it_is_there() {
    for behaviour in [Behaviour::Forbidden, Behaviour::WatchForbidden] {
        let cluster = Cluster::new(&["127.0.51.1"]).await;
        cluster.api.set_behaviour(behaviour.clone());
        cluster.list("svc-a", [0]);
        let channel = cluster.channel("grpc");
        assert_eq!(
            resolver_error(&channel, "403").await,
            "system:serviceaccount:default:helloserve may not read EndpointSlices (403 Forbidden): bind it, in \
             namespace default, to a Role with list and watch on endpointslices of discovery.k8s.io"
        );
        if behaviour == Behaviour::Forbidden {
            let (code, message) = fails(&channel, "").await;
            assert_eq!(code, Code::Unavailable);
            assert!(message.contains("to a Role with list and watch"), "{message}");
        } else {
            // The endpoints that could be listed are used.
            ready(&channel, 1).await;
        }
        cluster.api.set_behaviour(Behaviour::Normal);
        ready(&channel, 1).await;
        content(&channel).await;
    }
}

#[tokio::test]
async fn an_api_server_that_is_not_there_is_named() {
    let mut cluster = Cluster::new(&["127.0.52.1"]).await;
    cluster.api.stop().await;
    let (channel, error) = first_complaint(&cluster, "refused").await;
    assert!(error.contains(&cluster.api.address.to_string()), "{error}");
    cluster.api.restart().await;
    ready(&channel, 1).await;
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_says_why_until_it_can() {
    let cluster = Cluster::new(&["127.0.53.1"]).await;
    for (text, words) in [
        (None, "No such file"),
        (Some("{"), "kubeconfig"),
        (Some("apiVersion: v1\nkind: Config\n"), "context"),
    ] {
        match text {
            Some(text) => std::fs::write(cluster.kubeconfig(), text).unwrap(),
            None => std::fs::remove_file(cluster.kubeconfig()).unwrap(),
        }
        let (channel, error) = first_complaint(&cluster, words).await;
        assert!(error.starts_with("no way to the Kubernetes API is known: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
        cluster.give_token("first");
        ready(&channel, 1).await;
    }
}

#[test]
fn a_secure_target_is_for_dns() {
    let error = "kubernetes:///svc".parse::<balanced_channel::Target>().unwrap_err().to_string();
    assert_eq!(
        error,
        "target \"kubernetes:///svc\" names no port: write kubernetes:///service.namespace:port"
    );
}
