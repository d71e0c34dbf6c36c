//! Streams that are held while pods come and go: what the tool says is what the servers count.

use std::{collections::BTreeMap, num::NonZeroUsize, process::Stdio, time::Duration};

use balanced_channel::Channel;
use kubetester::{
    conditions::Conditions,
    engine::{Plan, Run},
    expect::{Expectations, MaxErrors},
    method::MethodOptions,
    render,
    result::{LoadResult, Streams},
    streams::{self, HoldPlan, StreamStats},
    transport::{Setup, Transport},
    verdict::Kind,
};
use proto::echo::{EchoReply, EchoRequest, echo_server_client::EchoServerClient};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use service::testing::{bounded, exit_of};
use tokio::{process::Command, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming};

use super::{
    callers::{ready, until},
    pods::TOOL,
    servers::Servers,
};

const METHOD: &str = "echo.EchoServer/SayHelloStream";
const WATCH: &str = "grpc.health.v1.Health/Watch";

/// Longer than any test.
const HOLD: HoldPlan = HoldPlan { time: Duration::from_secs(3600), timeout: Duration::from_secs(30) };

/// The parts of a [`Ledger`] that the test waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    held: BTreeMap<String, u64>,
    ended: u64,
}

// === impl Seen ===

impl Seen {
    fn of(stats: &StreamStats) -> Self {
        let held = stats.pods.iter().filter(|(_, pod)| pod.held > 0);
        Self { held: held.map(|(name, pod)| (name.clone(), pod.held)).collect(), ended: stats.ended }
    }

    fn total(&self) -> u64 {
        self.held.values().sum()
    }
}

fn counts(held: &BTreeMap<String, u64>) -> Vec<u64> {
    let mut counts: Vec<_> = held.values().copied().collect();
    counts.sort_unstable();
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_stay_when_pods_are_added_and_move_when_one_is_drained() {
    let mut servers = Servers::start(5, 3).await;
    let target = servers.target().parse().unwrap();
    let choice = MethodOptions { method: Some(METHOD.parse().unwrap()), ..MethodOptions::default() };
    let setup = Setup { method: choice, ..Setup::default() };
    let transport = Transport::open(&target, setup, Some(HOLD.timeout)).await.unwrap();
    let sources = transport.stream_callers(&target, NonZeroUsize::new(200).unwrap()).unwrap();
    let (seen, mut changes) = watch::channel(Seen::default());
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let holding = tokio::spawn(async move {
        let observe = |stats: &StreamStats| {
            seen.send_replace(Seen::of(stats));
        };
        streams::hold(&HOLD, sources, &stopping, observe).await
    });

    // 200 streams over 3 pods, evenly.
    let three = bounded(changes.wait_for(|seen| seen.total() == 200)).await.unwrap().clone();
    assert_eq!(three.held, servers.in_flight(METHOD));
    assert_eq!(counts(&three.held), [66, 67, 67]);
    let before = transport.endpoints();

    // Scaled to 5: the new pods are connected, and open streams stay where they are.
    servers.list(0, 5);
    until(|| transport.endpoints().iter().filter(|one| one.ready).count() == 5).await;
    assert_eq!((servers.connections(3), servers.connections(4)), (1, 1));
    assert_eq!(*changes.borrow(), three);
    assert_eq!(servers.in_flight(METHOD), three.held);

    // A pod leaves DNS: open streams still stay.
    servers.list(1, 5);
    until(|| transport.endpoints().len() == 4).await;
    assert_eq!(servers.in_flight(METHOD), three.held);

    // It is drained: its streams end after the grace, and are opened again on all others.
    let drained = servers.pods.remove(0);
    let moved = three.held["hellogrpc-1"];
    drained.trigger.close();
    let four =
        bounded(changes.wait_for(|seen| seen.ended == moved && seen.total() == 200)).await.unwrap().clone();
    bounded(drained.serving).await.unwrap();
    assert_eq!(four.held, servers.in_flight(METHOD));
    for (pod, held) in &four.held {
        let gained = held - three.held.get(pod).copied().unwrap_or(0);
        assert!((16..=17).contains(&gained), "{pod} was given {gained} of {moved} streams");
    }

    stop.cancel();
    let held = bounded(holding).await.unwrap();
    let after = transport.endpoints();
    let figures = Streams::new(transport.method(), &HOLD, &held, &before, &after);
    assert_eq!(
        (figures.held, figures.opened, figures.reopened, figures.ended),
        (200, 200 + moved, moved, moved)
    );
    let [ending] = &figures.endings[..] else { panic!("{:?}", figures.endings) };
    assert_eq!((ending.status.as_str(), ending.count), ("UNAVAILABLE", moved));
    assert_eq!(ending.pod.as_deref(), Some("hellogrpc-1"));
    assert!(ending.shortest >= 0.2, "the grace had passed after {} s", ending.shortest);
    assert_eq!(figures.moves.iter().map(|one| one.count).sum::<u64>(), moved);
    assert!(figures.moves.iter().all(|one| one.from == "hellogrpc-1"));
    let told: BTreeMap<_, _> = figures.pods.iter().map(|pod| (pod.name.clone(), pod.held)).collect();
    assert!(four.held.iter().all(|(pod, held)| told[pod] == *held) && told["hellogrpc-1"] == 0);

    let conditions = Conditions { endpoints: after, ..Conditions::new(target, 200) };
    let plan = Plan { calls: None, duration: Some(HOLD.time), rate: None, timeout: HOLD.timeout };
    let run = Run { tally: held.stats.tally, elapsed: held.elapsed, unsent: 0, stopped: held.stopped };
    let expectations = Expectations {
        max_errors: Some(MaxErrors::Count(moved)),
        expect_pods: Some(4),
        ..Expectations::default()
    };
    let result = LoadResult::of_streams(&conditions, &plan, &run, figures, &expectations);
    let kinds: Vec<_> = result.findings.0.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::Failures, Kind::Interrupted, Kind::StreamsEnded, Kind::StreamsStay]);
    assert!(result.expectations.iter().all(|one| one.held), "{:?}", result.expectations);
    let page = render::load(&result);
    for (pod, held) in &four.held {
        let line = page.lines().find(|line| line.trim_start().starts_with(pod.as_str())).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(held.to_string().as_str()), "{line}");
    }
}

/// Opens streams, and returns them by the pod that they are on.
async fn opened(channel: &Channel, count: usize) -> BTreeMap<String, Vec<Streaming<EchoReply>>> {
    let mut opened: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for _ in 0..count {
        let mut client = EchoServerClient::new(channel.clone());
        let response = bounded(client.say_hello_stream(EchoRequest::default())).await.unwrap();
        let pod = response.metadata().get("hostname").unwrap().to_str().unwrap().to_owned();
        opened.entry(pod).or_default().push(response.into_inner());
    }
    opened
}

#[tokio::test]
async fn no_stream_is_opened_on_a_closing_pod_that_dns_still_lists() {
    let servers = Servers::start(3, 3).await;
    let channel = Channel::new(servers.target()).unwrap();
    ready(&channel, 3).await;
    let counts = |opened: &BTreeMap<String, Vec<_>>| opened.values().map(Vec::len).collect::<Vec<_>>();
    let mut before = opened(&channel, 30).await;
    assert_eq!(counts(&before), [10, 10, 10]);

    let closing = &servers.pods[0];
    closing.trigger.close();
    // The GOAWAY ends the subchannel, and the pod takes no other connection.
    assert_eq!(ready(&channel, 2).await.resolver.endpoints, Some(3));
    let after = opened(&channel, 30).await;
    assert_eq!(after.keys().collect::<Vec<_>>(), ["hellogrpc-2", "hellogrpc-3"]);
    assert_eq!(counts(&after), [15, 15]);

    // Its streams end after the grace, and are opened again at once.
    for mut stream in before.remove("hellogrpc-1").unwrap() {
        let status = bounded(stream.message()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    let again = opened(&channel, 10).await;
    assert_eq!(counts(&again), [5, 5]);
    until(|| closing.serving.is_finished()).await;
    let in_flight = ["hellogrpc-2", "hellogrpc-3"].map(|pod| (pod.to_owned(), 30));
    assert_eq!(servers.in_flight(METHOD), BTreeMap::from(in_flight));
}

#[tokio::test]
async fn watches_of_health_are_held_without_a_method() {
    let servers = Servers::start(3, 3).await;
    let target = servers.target();
    let arguments = ["load", &target, "--streams", "60", "--hold", "100ms", "--json", "--expect-pods", "3"];
    let exit =
        exit_of(TOOL, &[&arguments[..], &["--max-skew", "1.1", "--max-errors", "0"]].concat(), &[]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    super::schema::check("kubetester.load-1", &exit.stdout);
    let result: Value = serde_json::from_str(&exit.stdout).unwrap();
    let streams = &result["streams"];
    assert_eq!(
        (&streams["method"], &streams["held"], &streams["idle"]),
        (&WATCH.into(), &60.into(), &Value::Array(vec![]))
    );
    let held: Vec<_> = streams["pods"].as_array().unwrap().iter().map(|pod| pod["held"].as_u64()).collect();
    assert_eq!(held, [Some(20); 3]);
    assert_eq!(result["findings"][0]["kind"], "even");
    // A watch begins with the status as it is.
    assert_eq!(result["messages"], 60);
    assert!(result["first_message"]["max"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn interrupted_streams_are_closed_and_exit_with_130() {
    let servers = Servers::start(1, 1).await;
    let mut tool = Command::new(TOOL);
    tool.args(["load", &servers.target(), "--streams", "5", "--hold", "1h", "--json"]);
    let child = tool.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    servers.until_in_flight(WATCH, 5).await;
    kill_process(Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    let output = bounded(child.wait_with_output()).await.unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &result["interrupted"]), (Some(130), &Value::Bool(true)));
    servers.until_in_flight(WATCH, 0).await;
}

#[tokio::test]
async fn flags_that_do_not_fit_streams_are_bad_usage() {
    let servers = Servers::start(1, 1).await;
    let target = servers.target();
    let hello = ["--streams", "2", "--method", "hello.Hello/SayHello"];
    for (target, arguments, words) in [
        ("http://127.0.0.1:9/", &["--streams", "2"][..], "has no gRPC streams"),
        (&target, &hello, "hello.Hello/SayHello answers with one message"),
        (&target, &["--streams", "2", "-n", "10"], "cannot be used with '--calls <N>'"),
        (&target, &["--streams", "2", "-q", "10"], "cannot be used with '--rate <CALLS/S>'"),
        (&target, &["--streams", "2", "-z", "1s"], "cannot be used with '--duration <TIME>'"),
        (&target, &["--streams", "2", "-c", "3"], "cannot be used with '--callers <N>'"),
        (&target, &["--streams", "2", "--max-p99", "1s"], "cannot be used with '--max-p99 <TIME>'"),
        (&target, &["--streams", "0"], "--streams"),
        (&target, &["--hold", "1s"], "--streams <N>"),
    ] {
        let exit = exit_of(TOOL, &[&["load", target], arguments].concat(), &[]).await;
        assert_eq!(exit.code, Some(2), "{arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(words), "{arguments:?}: {}", exit.stderr);
    }
}

#[tokio::test]
async fn calls_of_a_streaming_method_count_messages_and_the_time_to_the_first() {
    let servers = super::pods::Pods::start(1).await;
    let target = servers.target();
    let arguments = ["load", &target, "--method", METHOD, "-n", "20", "-c", "2"];
    let exit = exit_of(TOOL, &[&arguments[..], &["--json"]].concat(), &[]).await;
    let result: Value = serde_json::from_str(&exit.stdout).unwrap();
    assert_eq!((&result["calls"], &result["messages"]), (&20.into(), &40.into()), "{exit:?}");
    let (first, all) = (&result["first_message"], &result["latency"]);
    let max = |latency: &Value| latency["max"].as_f64().unwrap();
    assert!(max(first) > 0.0 && max(first) <= max(all), "{first} {all}");
    let exit = exit_of(TOOL, &arguments, &[]).await;
    assert!(exit.stdout.contains("messages  40; time to the first: min "), "{}", exit.stdout);
}
