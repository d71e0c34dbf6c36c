//! The requests to the API server, and the events that follow.

use kubetester::drill::{
    event_log::{EventKind, EventLog},
    kubernetes::Kubernetes,
    platform::Platform,
};
use service::testing::{
    api_server::{Behaviour, WatchAction},
    bounded,
};
use tokio::{task::yield_now, time::Duration};

use super::deployment::{Cluster, DEPLOYMENTS, NAME, PODS};

async fn connect(cluster: &Cluster) -> Kubernetes {
    Kubernetes::at(cluster.config().await, NAME).await.unwrap()
}

/// Returns the pods of all events of a kind.
fn recorded(event_log: &EventLog, what: EventKind) -> Vec<String> {
    let events = event_log.events().into_iter().filter(|event| event.what == what);
    events.map(|event| event.pod.unwrap()).collect()
}

#[tokio::test]
async fn restart_changes_the_template_and_waits_for_the_last_pod() {
    let cluster = Cluster::start(3).await;
    let (mut platform, event_log) = (connect(&cluster).await, EventLog::new());
    bounded(platform.restart(&event_log)).await.unwrap();
    assert_eq!(recorded(&event_log, EventKind::Ready), ["hellogrpc-4", "hellogrpc-5", "hellogrpc-6"]);
    assert_eq!(recorded(&event_log, EventKind::Stopping), ["hellogrpc-1", "hellogrpc-2", "hellogrpc-3"]);
    // Each new pod was ready before the next old pod began to terminate.
    let order: Vec<_> = event_log.events().iter().map(|event| event.what).collect();
    assert_eq!(order, [[EventKind::Ready, EventKind::Stopping]; 3].concat());
    assert_eq!(cluster.ready().await.len(), 3);
    bounded(platform.restore()).await.unwrap();

    let [change] = &cluster.changes().await[..] else { panic!("not one change") };
    let annotation =
        r#"{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":""#;
    let rest =
        change.strip_prefix(&format!("PATCH {DEPLOYMENTS}/{NAME} application/merge-patch+json {annotation}"));
    let time = rest.unwrap_or_else(|| panic!("{change}")).strip_suffix(r#""}}}}}"#).unwrap();
    assert_eq!(
        (time.len(), &time[10..11], &time[19..]),
        (20, "T", "Z"),
        "RFC 3339 in whole seconds, as kubectl: {time}"
    );
}

#[tokio::test]
async fn scale_is_restored() {
    let cluster = Cluster::start(3).await;
    let (mut platform, event_log) = (connect(&cluster).await, EventLog::new());
    bounded(platform.scale(5, &event_log)).await.unwrap();
    assert_eq!(recorded(&event_log, EventKind::Ready), ["hellogrpc-4", "hellogrpc-5"]);
    bounded(platform.scale(1, &event_log)).await.unwrap();
    assert_eq!(recorded(&event_log, EventKind::Stopping).len(), 4);
    bounded(platform.restore()).await.unwrap();
    bounded(platform.restore()).await.unwrap();
    let change = |replicas| {
        format!(
            "PATCH {DEPLOYMENTS}/{NAME}/scale application/merge-patch+json {{\"spec\":{{\"replicas\":{replicas}}}}}"
        )
    };
    assert_eq!(cluster.changes().await, [change(5), change(1), change(3)]);
}

#[tokio::test]
async fn kill_deletes_without_grace_and_waits_for_the_replacement() {
    let cluster = Cluster::start(3).await;
    let (mut platform, event_log) = (connect(&cluster).await, EventLog::new());
    assert_eq!(platform.pods().await.unwrap(), ["hellogrpc-1", "hellogrpc-2", "hellogrpc-3"]);
    bounded(platform.kill("hellogrpc-2", &event_log)).await.unwrap();
    bounded(platform.revive("hellogrpc-2", &event_log)).await.unwrap();
    let events: Vec<_> =
        event_log.events().into_iter().map(|event| (event.what, event.pod.unwrap())).collect();
    assert_eq!(
        events,
        [(EventKind::Killed, "hellogrpc-2".to_owned()), (EventKind::Ready, "hellogrpc-4".to_owned())]
    );
    let change = format!("DELETE {PODS}/hellogrpc-2 application/json {{\"gracePeriodSeconds\":0}}");
    assert_eq!(cluster.changes().await, [change]);
}

/// Pods are listed with the Deployment's selector, so that no other pod is counted or killed.
#[tokio::test]
async fn pods_outside_the_selector_are_ignored() {
    let cluster = Cluster::start(2).await;
    let mut platform = connect(&cluster).await;
    bounded(platform.scale(3, &EventLog::new())).await.unwrap();
    let requests = cluster.server().await.requests();
    let of_pods: Vec<_> = requests.iter().filter(|request| request.path == PODS).collect();
    assert!(of_pods.iter().any(|request| request.watch) && of_pods.iter().any(|request| !request.watch));
    assert!(
        of_pods.iter().all(|request| request.value("labelSelector") == Some("app=hello,tier=grpc")),
        "{of_pods:?}"
    );
}

#[tokio::test]
async fn ctrl_c_restores_the_deployment() {
    let cluster = Cluster::start(3).await;
    let (mut platform, event_log) = (connect(&cluster).await, EventLog::new());
    cluster.stop_controller();
    tokio::select! {
        _ = platform.scale(9, &event_log) => panic!("nobody made the pods"),
        _ = async { while cluster.changes().await.is_empty() { yield_now().await } } => {}
    }
    bounded(platform.restore()).await.unwrap();
    assert_eq!(cluster.server().await.get(DEPLOYMENTS, NAME).unwrap()["spec"]["replicas"], 3);
}

#[tokio::test]
async fn unavailable_api_server_delays_the_drill() {
    let cluster = Cluster::start(3).await;
    let (mut platform, event_log) = (connect(&cluster).await, EventLog::new());
    let away = async {
        while recorded(&event_log, EventKind::Ready).is_empty() {
            yield_now().await;
        }
        cluster.server().await.stop().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.server().await.restart().await;
    };
    let (restarted, ()) = bounded(async { tokio::join!(platform.restart(&event_log), away) }).await;
    restarted.unwrap();
    // A pod that was created and deleted in the meantime is not noticed.
    let ready = recorded(&event_log, EventKind::Ready);
    assert!(cluster.ready().await.iter().all(|pod| ready.contains(pod)), "{ready:?}");
    assert_eq!(recorded(&event_log, EventKind::Stopping).len(), 3);
}

#[tokio::test]
async fn broken_watches_miss_no_events() {
    let cluster = Cluster::start(3).await;
    let (mut platform, event_log) = (connect(&cluster).await, EventLog::new());
    let broken = async {
        for action in [
            WatchAction::Gone,
            WatchAction::Cut,
            WatchAction::End,
            WatchAction::Error(500),
            WatchAction::Send("no JSON\n"),
            WatchAction::Bookmark,
        ] {
            cluster.server().await.control_watches(action);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cluster.server().await.set_behaviour(Behaviour::ErrorStatus(500, None));
        tokio::time::sleep(Duration::from_millis(50)).await;
        cluster.server().await.set_behaviour(Behaviour::Normal);
    };
    let (restarted, ()) = bounded(async { tokio::join!(platform.restart(&event_log), broken) }).await;
    restarted.unwrap();
    assert_eq!(recorded(&event_log, EventKind::Stopping), ["hellogrpc-1", "hellogrpc-2", "hellogrpc-3"]);
    assert_eq!(cluster.ready().await.len(), 3);
}
