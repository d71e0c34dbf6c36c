//! Errors of the Kubernetes API: each is one sentence, in the snapshot and in the status of calls, and the channel
//! recovers by itself.

use backend::fails;
use service::testing::api_server::Behaviour;
use tonic::Code;

use super::*;

/// Returns the error of a channel's first attempt, from the snapshot and from a call.
async fn first_error(cluster: &Cluster, words: &str) -> (Channel, String) {
    cluster.list("svc-a", [0]);
    let channel = cluster.channel("grpc");
    let error = resolver_error(&channel, words).await;
    let (code, message) = fails(&channel, "").await;
    assert_eq!(code, Code::Unavailable);
    assert_eq!(message, format!("kubernetes:///svc:grpc: {error}"));
    (channel, error)
}

#[tokio::test]
async fn missing_permission_is_an_error_that_names_the_required_role() {
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
async fn unreachable_api_server_is_named_in_the_error() {
    let mut cluster = Cluster::new(&["127.0.52.1"]).await;
    cluster.api.stop().await;
    let (channel, error) = first_error(&cluster, "refused").await;
    assert!(error.contains(&cluster.api.address.to_string()), "{error}");
    cluster.api.restart().await;
    ready(&channel, 1).await;
}

#[tokio::test]
async fn unusable_kubeconfig_is_an_error_until_it_is_repaired() {
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
        let (channel, error) = first_error(&cluster, words).await;
        assert!(error.starts_with("no configuration for the Kubernetes API was found: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
        cluster.give_token("first");
        ready(&channel, 1).await;
    }
}

#[test]
fn kubernetes_target_without_a_port_is_an_error() {
    let error = "kubernetes:///svc".parse::<balanced_channel::Target>().unwrap_err().to_string();
    assert_eq!(
        error,
        "target \"kubernetes:///svc\" names no port: write kubernetes:///service.namespace:port"
    );
}
