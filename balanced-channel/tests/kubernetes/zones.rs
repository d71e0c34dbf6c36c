//! Calls stay in the client's zone while the rule of `Builder::zone` allows it.

use super::*;

/// Starts two backends in zone a, two in zone b, and a channel in zone a.
async fn two_zones(net: &str) -> (Cluster, Channel) {
    let ips: Vec<_> = (1..=4).map(|n| format!("{net}.{n}")).collect();
    let cluster = Cluster::new(&ips.iter().map(String::as_str).collect::<Vec<_>>()).await;
    cluster.api.put_slice(&cluster.slice("svc-a", pods(&ips, &["a", "a", "b", "b"])));
    let channel = cluster.builder("grpc").zone("a").build().unwrap();
    ready(&channel, 2).await;
    (cluster, channel)
}

fn pods(ips: &[String], zones: &[&str]) -> Vec<Value> {
    let pods = ips.iter().zip(zones).enumerate();
    pods.map(|(number, (ip, zone))| Slice::pod_in(&format!("svc-{number}"), ip, zone)).collect()
}

#[tokio::test]
async fn calls_stay_in_the_zone_while_it_has_enough_endpoints() {
    let (cluster, channel) = two_zones("127.0.61").await;
    let zones = |channel: &Channel| -> Vec<_> {
        channel.snapshot().subchannels.into_iter().map(|subchannel| subchannel.zone.unwrap()).collect()
    };
    assert_eq!(
        (names(&channel), zones(&channel)),
        (vec!["svc-0".into(), "svc-1".into()], vec!["a".into(); 2])
    );
    assert_eq!(channel.snapshot().resolver.endpoints, Some(4), "all endpoints are resolved");
    let caller = Caller::start(&channel);
    caller.calls(20).await;
    assert_eq!(cluster.backends[2].calls() + cluster.backends[3].calls(), 0);

    // One endpoint is left in the zone.
    let ips: Vec<_> = cluster.backends.iter().map(|backend| backend.address.ip().to_string()).collect();
    cluster.api.put_slice(&cluster.slice("svc-a", pods(&ips, &["a", "b", "b", "b"])));
    ready(&channel, 4).await;
    // With zone hints, the hints apply.
    let mut planned = pods(&ips, &["a", "b", "b", "b"]);
    for (pod, zone) in planned.iter_mut().zip(["a", "b", "b", "a"]) {
        pod["hints"] = serde_json::json!({"forZones": [{"name": zone}]});
    }
    cluster.api.put_slice(&cluster.slice("svc-a", planned));
    until("the planned ones", || (names(&channel) == ["svc-0", "svc-3"]).then_some(())).await;
    assert_eq!(caller.failures().await, [""; 0]);
}

#[tokio::test]
async fn loss_of_the_zone_moves_calls_to_other_zones() {
    let (mut cluster, channel) = two_zones("127.0.62").await;
    let addresses: Vec<_> = cluster.backends.iter().map(|backend| backend.address).collect();
    // Both backends of the zone fail, and the API server still lists them.
    let there = cluster.backends.split_off(2);
    cluster.backends.clear();
    until("a call in the other zone", || {
        there.iter().any(|backend| backend.calls() > 0).then_some(()).or_else(|| {
            let channel = channel.clone();
            tokio::spawn(async move { drop(call(&channel, "").await) });
            None
        })
    })
    .await;
    // The backends are restarted, and calls return to the zone.
    cluster.backends = addresses[..2].iter().map(|address| Backend::on(*address)).collect();
    ready(&channel, 2).await;
    assert_eq!(names(&channel), ["svc-0", "svc-1"]);
    for _ in 0..4 {
        let by = call(&channel, "").await.unwrap();
        assert!(addresses[..2].iter().any(|address| address.to_string() == by), "{by}");
    }
}
