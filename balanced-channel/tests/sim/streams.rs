//! Streaming calls: each is balanced, and stays on its connection until it ends.

use std::{collections::BTreeMap, time::Duration};

use balanced_channel::Channel;
use futures_util::future::{join_all, try_join_all};
use http::uri::PathAndQuery;
use proto::hello::{Greeting, Introduction};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;

use crate::{
    cluster::simulate,
    load::{Load, ready, until},
    network::FINE,
    node::Backend,
    registry::{endpoints, manual_channel},
    service::{COUNT, ECHO},
};

type Codec = ProstCodec<Greeting, Introduction>;

/// Reads a server stream of `count` messages, one every 100 ms. Returns the address of the sender.
async fn count(channel: Channel, count: usize) -> Result<String, Status> {
    let request = Request::new(Greeting { name: count.to_string() });
    let answer = Grpc::new(channel)
        .server_streaming(request, PathAndQuery::from_static(COUNT), Codec::default())
        .await?;
    one_sender(answer.into_inner(), count, || async {}).await
}

/// Sends `count` messages, each after the response to the previous one. Returns the address of the sender.
async fn echo(channel: Channel, count: usize) -> Result<String, Status> {
    let (sender, greetings) = mpsc::channel(1);
    let greet = || async {
        sleep(Duration::from_millis(100)).await;
        let _ = sender.send(Greeting::default()).await;
    };
    greet().await;
    let answer = Grpc::new(channel)
        .streaming(
            Request::new(ReceiverStream::new(greetings)),
            PathAndQuery::from_static(ECHO),
            Codec::default(),
        )
        .await?;
    one_sender(answer.into_inner(), count, greet).await
}

/// Reads `count` messages, which must have the same sender, and runs `then` after each.
async fn one_sender<F: Future<Output = ()>>(
    mut stream: Streaming<Introduction>,
    count: usize,
    then: impl Fn() -> F,
) -> Result<String, Status> {
    let mut sender: Option<String> = None;
    for _ in 0..count {
        let next = stream.message().await?.expect("the stream goes on");
        assert_eq!(*sender.get_or_insert_with(|| next.hostname.clone()), next.hostname);
        then().await;
    }
    Ok(sender.expect("at least one message"))
}

type Stream = JoinHandle<Result<String, Status>>;

/// Starts twelve streams of each kind, each 5 s long, and waits until all have begun.
async fn start(channel: &Channel, backends: &[Backend]) -> Vec<Stream> {
    let mut streams = Vec::new();
    for _ in 0..12 {
        streams.push(tokio::spawn(count(channel.clone(), 50)));
        streams.push(tokio::spawn(echo(channel.clone(), 50)));
        sleep(Duration::from_millis(7)).await;
    }
    until("every stream", || (backends.iter().map(Backend::calls).sum::<u64>() == 24).then_some(())).await;
    streams
}

async fn all_end_well(streams: Vec<Stream>) -> BTreeMap<String, u32> {
    let senders = try_join_all(join_all(streams).await.into_iter().map(|end| async { end.unwrap() }));
    let mut by_sender = BTreeMap::new();
    for sender in senders.await.unwrap() {
        *by_sender.entry(sender).or_default() += 1;
    }
    by_sender
}

#[test]
fn streams_are_balanced_call_by_call_and_survive_the_removal_of_their_endpoints() {
    simulate(FINE, ["machine"], |[node]| async move {
        let (old, new) = (node.backends(3), [node.backend(9000).started()]);
        let (channel, updates) = manual_channel().await;
        updates.publish(endpoints(&old));
        ready(&channel, 3).await;
        let streams = start(&channel, &old).await;
        assert!(old.iter().all(|backend| backend.calls() == 8));

        updates.publish(endpoints(&new));
        ready(&channel, 1).await;
        let load = Load { burst: 1, ..Load::default() }.start(&channel);
        assert_eq!(all_end_well(streams).await.into_values().collect::<Vec<_>>(), [8, 8, 8]);
        until("the old connections' end", || (old.iter().all(|b| b.connections() == 0)).then_some(())).await;
        load.stop().await.assert_all_succeeded(4_000);
        assert!(old.iter().all(|backend| backend.calls() == 8), "no new call goes to a removed backend");
    });
}

#[test]
fn streams_survive_a_goaway_while_new_calls_go_to_other_backends() {
    simulate(FINE, ["machine"], |[node]| async move {
        let backends = node.backends(3);
        let (channel, updates) = manual_channel().await;
        updates.publish(endpoints(&backends));
        ready(&channel, 3).await;
        let streams = start(&channel, &backends).await;
        let load = Load { burst: 1, ..Load::default() }.start(&channel);
        backends[0].drain();
        backends[1].drain();
        until("two backends less", || (channel.snapshot().ready() == 1).then_some(())).await;
        assert_eq!(all_end_well(streams).await.into_values().collect::<Vec<_>>(), [8, 8, 8]);
        load.stop().await.assert_all_succeeded(4_000);
    });
}
