//! A pod is killed with SIGKILL under load, and comes back.

use std::{collections::HashMap, sync::Arc};

use balanced_channel::Channel;
use proto::hello::{Greeting, hello_client::HelloClient};
use tonic::transport::{Channel as TonicChannel, Endpoint};

use super::{
    callers::{CALLERS, Call, Counts, Load, given, in_turn, over, ready, until},
    pods::{Pods, name},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_pod_loses_calls_in_flight_and_recovers_its_share() {
    let mut pods = Pods::start(3).await;
    let channel = Channel::new(pods.target()).unwrap();
    ready(&channel, 3).await;
    let call = over(&channel);
    let load = Load::start(&call);
    let before = load.calls(300).await;
    assert_eq!(before.failed, Vec::<String>::new());

    pods.kill(3).await;
    let dead = pods.addresses[2];
    until(|| !given(&channel, dead).1).await;
    // The connection is closed. A call that was already started may still be counted; later calls may not.
    load.calls(2 * CALLERS as u64).await;
    let (given_before, _) = given(&channel, dead);
    let after = load.calls(600).await;
    assert_eq!(given(&channel, dead).0, given_before, "a call was given to a dead address");
    assert!(after.failed.len() <= CALLERS, "{} calls failed: {:?}", after.failed.len(), after.failed);

    pods.restart(3).await;
    ready(&channel, 3).await;
    let back = load.counts();
    let share = |counts: &HashMap<String, u64>, pod| counts.get(&name(pod)).copied().unwrap_or(0);
    let later = load.calls(600).await;
    let taken = share(&later.answered, 3) - share(&back.answered, 3);
    assert!((150..=250).contains(&taken), "it took {taken} of 600 calls under load");
    assert_eq!(load.stop().await.failed, after.failed, "calls failed when it came back");
    println!("{} calls failed: {:?}", after.failed.len(), after.failed.first());
    let turns = in_turn(&call, 30).await;
    assert_eq!([1, 2, 3].map(|pod| share(&turns, pod)), [10, 10, 10]);
}

/// Repeats the test with tonic's own balancer, to prove that the test above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonics_own_balancer_loses_far_more_calls() {
    let mut pods = Pods::start(3).await;
    let endpoints =
        pods.addresses.iter().map(|address| Endpoint::from_shared(format!("http://{address}")).unwrap());
    let client = HelloClient::new(TonicChannel::balance_list(endpoints));
    let call: Call = Arc::new(move || {
        let mut client = client.clone();
        Box::pin(async move { Ok(client.say_hello(Greeting::default()).await?.into_inner().hostname) })
    });
    let load = Load::start(&call);
    load.calls(300).await;
    pods.kill(3).await;
    until(|| load.counts().failed.len() > 20 * CALLERS).await;
    let Counts { answered, failed } = load.calls(2000).await;
    println!("{} calls failed, {} were answered", failed.len(), answered.values().sum::<u64>());
}
