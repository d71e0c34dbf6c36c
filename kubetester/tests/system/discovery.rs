//! A new address appears in DNS while no call is made.

use balanced_channel::Channel;
use kubetester::{
    demo::layout::{Layout, addresses},
    dns::{DnsServer, ResponseMode},
};
use service::{Identity, Instance, Shutdown, defaults};

use super::callers::{in_turn, over, ready, until};

#[tokio::test]
async fn new_address_is_connected_and_takes_its_share() {
    // A name in DNS has no ports, so the pods share one.
    let layout = Layout::bind(4, 1, false).await.unwrap();
    let pods = addresses(&layout.grpc).unwrap();
    let (_trigger, shutdown) = Shutdown::new();
    for (number, listener) in layout.grpc.into_iter().enumerate() {
        let identity =
            Identity { version: "v1-hellogrpc".into(), hostname: format!("hellogrpc-{}", number + 1) };
        tokio::spawn(hellogrpc::serve(defaults(), listener, Instance::new(identity, shutdown.clone())));
    }
    let dns = DnsServer::start(layout.dns).await.unwrap();
    let fourth = pods[3].ip();
    dns.zone().set("grpc-svc", pods[..3].iter().map(|pod| pod.ip()));
    let channel = Channel::new(format!("dns://{}/grpc-svc:{}", dns.address(), pods[0].port())).unwrap();
    ready(&channel, 3).await;

    dns.zone().set("grpc-svc", pods.iter().map(|pod| pod.ip()));
    until(|| dns.zone().handed_out("grpc-svc", fourth) > 0).await;
    // The new address is in a single DNS answer, so one answer has to be enough.
    dns.zone().set_response_mode(ResponseMode::Silent);
    let answers = dns.zone().handed_out("grpc-svc", fourth);
    let snapshot = ready(&channel, 4).await;
    assert_eq!(dns.zone().handed_out("grpc-svc", fourth), answers);
    assert_eq!(answers, 1);
    for subchannel in &snapshot.subchannels {
        assert_eq!(subchannel.started, 0, "no call was made meanwhile");
        assert_eq!(subchannel.last_error, None, "no connection was broken");
    }

    dns.zone().set_response_mode(ResponseMode::Answer);
    let turns = in_turn(&over(&channel), 40).await;
    assert_eq!(turns.len(), 4);
    assert!(turns.values().all(|calls| *calls == 10), "{turns:?}");
}
