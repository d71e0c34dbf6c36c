//! Streams in paused time.

use std::collections::VecDeque;

use tokio::time::sleep;

use super::*;
use crate::{
    conditions::EndpointState,
    result::Streams,
    streams::stats::{Change, Event},
};

/// A source whose streams are scripted; after the last of them, streams stay open.
struct Scripted {
    number: usize,
    lives: VecDeque<Life>,
    current: Option<Life>,
}

/// One stream: it opens on a pod after `opens`, has messages, and ends after `ends`.
#[derive(Clone)]
struct Life {
    pod: Option<&'static str>,
    opens: Duration,
    messages: u64,
    ends: Option<(Duration, &'static str)>,
}

const SECOND: Duration = Duration::from_secs(1);
const PLAN: HoldPlan = HoldPlan { time: Duration::from_secs(60), timeout: Duration::from_secs(5) };

fn held_on(pod: &'static str) -> Life {
    Life { pod: Some(pod), opens: Duration::from_millis(1), messages: 0, ends: None }
}

fn ends_on(pod: &'static str, after: Duration, status: &'static str) -> Life {
    Life { ends: Some((after, status)), ..held_on(pod) }
}

fn source(number: usize, lives: &[Life]) -> Scripted {
    Scripted { number, lives: lives.iter().cloned().collect(), current: None }
}

fn end(status: &str) -> End {
    let error = (status != "OK").then(|| format!("gRPC {status}"));
    End { status: status.to_owned(), error }
}

impl StreamSource for Scripted {
    async fn open(&mut self) -> Result<Opened, End> {
        let life = self.lives.pop_front().expect("the script has a life for each stream");
        sleep(life.opens).await;
        let pod = life.pod.map(str::to_owned);
        let peer = SocketAddr::from(([10, 0, 0, 1], self.number as u16));
        self.current = Some(life.clone());
        match (life.pod, life.ends) {
            (None, Some((_, status))) => Err(end(status)),
            _ => Ok(Opened { pod, peer: Some(peer) }),
        }
    }

    async fn message(&mut self) -> Result<Option<String>, End> {
        let life = self.current.as_mut().expect("a stream is open");
        if life.messages > 0 {
            life.messages -= 1;
            sleep(Duration::from_millis(10)).await;
            return Ok(None);
        }
        match life.ends {
            Some((after, status)) => {
                sleep(after).await;
                Err(end(status))
            }
            None => std::future::pending().await,
        }
    }
}

async fn held(sources: Vec<Scripted>) -> HoldOutcome {
    hold(&PLAN, sources, &CancellationToken::new(), |_| {}).await
}

#[tokio::test(start_paused = true)]
async fn streams_are_held_for_the_time_after_the_last_has_opened() {
    let late = Life { opens: 2 * SECOND, messages: 3, ..held_on("b") };
    let HoldOutcome { stats, elapsed, stopped } =
        held(vec![source(0, &[held_on("a")]), source(1, &[held_on("a")]), source(2, &[late])]).await;
    assert_eq!((stats.held(), stats.opened, stats.ended, stopped), (3, 3, 0, false));
    assert_eq!((stats.pods["a"].held, stats.pods["b"].held), (2, 1));
    assert_eq!(stats.settled.unwrap().as_secs(), 2);
    assert_eq!(elapsed.as_secs(), 62);
    assert_eq!((stats.tally.succeeded, stats.tally.failed(), stats.tally.messages), (3, 0, Some(3)));
    assert_eq!(stats.tally.first_message.max().as_millis(), 2010);
}

#[tokio::test(start_paused = true)]
async fn stream_that_ends_is_opened_again_at_once_and_its_move_is_recorded() {
    let moved = [ends_on("a", 10 * SECOND, "UNAVAILABLE"), held_on("b")];
    let done = [ends_on("a", 20 * SECOND, "OK"), held_on("a")];
    let HoldOutcome { stats, .. } =
        held(vec![source(0, &moved), source(1, &done), source(2, &[held_on("c")])]).await;
    assert_eq!((stats.held(), stats.opened, stats.reopened, stats.ended), (3, 5, 2, 2));
    let moves: Vec<_> =
        stats.moves.iter().map(|((from, to), count)| (from.as_str(), to.as_str(), *count)).collect();
    assert_eq!(moves, [("a", "a", 1), ("a", "b", 1)]);
    let unavailable = &stats.endings[&("UNAVAILABLE".to_owned(), Some("a".to_owned()))];
    assert_eq!(unavailable.lifetimes.max().as_secs(), 10);
    assert_eq!(stats.pods["b"].first_at.as_millis(), 10_002, "the pause before it is none");
    // A stream that ended with OK did not fail.
    assert_eq!((stats.tally.succeeded, stats.tally.failed()), (4, 1));
    assert_eq!(stats.tally.errors["gRPC UNAVAILABLE"], 1);
}

#[tokio::test(start_paused = true)]
async fn streams_that_end_at_once_are_opened_again_with_pauses() {
    let lives = vec![ends_on("a", Duration::ZERO, "OK"); 1000];
    let HoldOutcome { stats, .. } = held(vec![source(0, &lives)]).await;
    // Pauses of 0, 100, 200, 400 and 800 ms, then one of a second each.
    assert_eq!(stats.ended, 64);
    assert_eq!(stats.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn stream_that_does_not_open_in_time_has_failed_and_is_tried_again() {
    let stuck = Life { opens: 3600 * SECOND, ..held_on("a") };
    let refused = Life { pod: None, ends: Some((Duration::ZERO, "UNIMPLEMENTED")), ..held_on("a") };
    let HoldOutcome { stats, .. } = held(vec![source(0, &[stuck, refused, held_on("a")])]).await;
    assert_eq!((stats.not_opened, stats.opened, stats.held(), stats.reopened), (2, 1, 1, 0));
    assert_eq!(stats.settled.unwrap().as_secs(), 5);
    let mut causes: Vec<_> = stats.tally.errors.keys().map(String::as_str).collect();
    causes.sort_unstable();
    assert_eq!(causes.len(), 2);
    assert!(causes[0] == "gRPC UNIMPLEMENTED" && causes[1].starts_with("no response headers within 5s"));
}

#[tokio::test(start_paused = true)]
async fn streams_are_closed_when_they_are_stopped() {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        sleep(SECOND).await;
        cancel.cancel();
    });
    let HoldOutcome { stats, elapsed, stopped } =
        hold(&PLAN, vec![source(0, &[held_on("a")])], &stop, |_| {}).await;
    assert_eq!((stats.held(), elapsed, stopped), (1, SECOND, true));
}

#[test]
fn connected_endpoint_without_a_stream_is_idle_and_makes_the_skew_infinite() {
    let endpoint = |port: u16, ready| EndpointState {
        address: SocketAddr::from(([10, 0, 0, 1], port)).to_string(),
        ready,
        last_error: None,
    };
    let mut stats = StreamStats::new(20);
    for number in 0..20 {
        let pod = number % 2;
        let peer = Some(SocketAddr::from(([10, 0, 0, 1], pod)));
        let opened = Opened { pod: Some(format!("pod-{pod}")), peer };
        let change = Change::Opened { opened, took: SECOND };
        stats.record(Event { number: usize::from(number), at: SECOND, change });
    }
    let held = HoldOutcome { stats, elapsed: SECOND, stopped: false };
    let before = [endpoint(0, true), endpoint(1, true), endpoint(2, false)];
    for (ready, idle, skew) in [(false, vec![], 1.0), (true, vec![true], f64::INFINITY)] {
        let after = [endpoint(0, true), endpoint(1, true), endpoint(2, ready)];
        let streams = Streams::new("a.B/C".to_owned(), &PLAN, &held, &before, &after);
        let later: Vec<_> = streams.idle.iter().flatten().map(|endpoint| endpoint.came_later).collect();
        assert_eq!((later, streams.balance().skew, streams.balance().pods), (idle, skew, 2));
    }
}
