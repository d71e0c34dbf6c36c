//! Tests of the keepalive state machine, in paused time, and against the rules by which gRPC servers count PINGs.

use std::collections::{BTreeSet, HashSet, VecDeque};

use proptest::prelude::*;
use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Receives headers or data from the peer.
fn receive_message(timer: &mut KeepaliveTimer) {
    timer.bytes_read();
    timer.message_read();
}

fn pong(timer: &mut KeepaliveTimer) {
    timer.bytes_read();
    timer.pong_received();
}

/// Returns the next action with calls in flight, and the time until then in milliseconds.
fn due(timer: &KeepaliveTimer) -> Option<(u128, KeepaliveAction)> {
    let wait = |at: Instant| at.saturating_duration_since(Instant::now()).as_millis();
    timer.next_action(true).map(|(at, due)| (wait(at), due))
}

fn due_in(time: Duration) -> Option<(Instant, KeepaliveAction)> {
    Some((Instant::now() + time, KeepaliveAction::Ping))
}

#[tokio::test(start_paused = true)]
async fn idle_connection_sends_pings_only_if_configured() {
    let mut timer = KeepaliveTimer::new(Keepalive::default());
    assert_eq!(timer.next_action(false), None);
    timer.call_started();
    assert_eq!(due(&timer), Some((2000, KeepaliveAction::Ping)));
    assert_eq!(
        timer.next_action(false),
        due_in(2 * SECOND),
        "a cancelled call without a response is a reason to probe"
    );
    receive_message(&mut timer);
    assert_eq!(timer.next_action(false), None);
    let timer = KeepaliveTimer::new(Keepalive { without_calls: true, ..Keepalive::default() });
    assert_eq!(timer.next_action(false), due_in(2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn first_call_after_a_long_idle_time_is_probed_after_the_probe_time() {
    let mut timer = KeepaliveTimer::new(Keepalive::default());
    advance(100 * SECOND).await;
    timer.call_started();
    assert_eq!(due(&timer), Some((2000, KeepaliveAction::Ping)));
    advance(SECOND).await;
    timer.call_started();
    assert_eq!(due(&timer), Some((1000, KeepaliveAction::Ping)), "further calls do not postpone it");
}

#[tokio::test(start_paused = true)]
async fn quiet_stream_is_probed_once_and_then_pinged_at_the_keepalive_time() {
    let mut timer = KeepaliveTimer::new(Keepalive::default());
    timer.call_started();
    receive_message(&mut timer);
    advance(2 * SECOND).await;
    assert_eq!(due(&timer), Some((0, KeepaliveAction::Ping)));
    timer.ping_sent();
    pong(&mut timer);
    for _ in 0..3 {
        assert_eq!(due(&timer), Some((310_000, KeepaliveAction::Ping)));
        advance(310 * SECOND).await;
        timer.ping_sent();
        pong(&mut timer);
    }
    timer.call_started();
    assert_eq!(
        due(&timer),
        Some((2000, KeepaliveAction::Ping)),
        "another call without a response causes a second probe"
    );
    advance(2 * SECOND).await;
    timer.ping_sent();
    pong(&mut timer);
    timer.call_started();
    assert_eq!(due(&timer), Some((310_000, KeepaliveAction::Ping)), "there is no third probe");
    receive_message(&mut timer);
    assert_eq!(due(&timer), Some((2000, KeepaliveAction::Ping)), "a message allows it again");
}

#[tokio::test(start_paused = true)]
async fn silence_after_a_ping_marks_the_peer_silent_and_then_closes_unless_bytes_arrive() {
    let mut timer = KeepaliveTimer::new(Keepalive::default());
    timer.call_started();
    advance(2 * SECOND).await;
    timer.ping_sent();
    assert_eq!(due(&timer), Some((2000, KeepaliveAction::MarkSilent)));
    advance(2 * SECOND).await;
    timer.marked_silent();
    assert_eq!(due(&timer), Some((18_000, KeepaliveAction::Close)));
    advance(17 * SECOND).await;
    assert!(timer.bytes_read(), "the peer was silent");
    assert_eq!(due(&timer), Some((2000, KeepaliveAction::MarkSilent)), "the ping is not answered yet");
    pong(&mut timer);
    assert!(!timer.bytes_read());
    assert_eq!(due(&timer), Some((310_000, KeepaliveAction::Ping)));
}

#[tokio::test(start_paused = true)]
async fn stalled_process_waits_for_the_pong_again_up_to_three_times() {
    let mut timer = KeepaliveTimer::new(Keepalive::default());
    timer.call_started();
    advance(2 * SECOND).await;
    timer.ping_sent();
    let extended_after = async |timer: &mut KeepaliveTimer, time| {
        let (at, _) = timer.next_action(true).unwrap();
        advance(time).await;
        timer.extend_after_stall(at)
    };
    assert!(!extended_after(&mut timer, 2 * SECOND).await, "the wait ended in time");
    assert!(extended_after(&mut timer, SECOND / 2).await, "late by a quarter of the wait");
    assert_eq!(due(&timer), Some((2000, KeepaliveAction::MarkSilent)));
    for _ in 0..2 {
        assert!(extended_after(&mut timer, 60 * SECOND).await);
    }
    assert!(!extended_after(&mut timer, 60 * SECOND).await, "a stall that never ends hides no dead peer");
    timer.bytes_read();
    assert!(extended_after(&mut timer, 60 * SECOND).await, "bytes from the peer reset the limit");
    timer.marked_silent();
    assert!(!extended_after(&mut timer, 24 * SECOND).await, "late by less than a quarter of 20 s");
    assert!(extended_after(&mut timer, SECOND).await);
    assert_eq!(due(&timer), Some((20_000, KeepaliveAction::Close)));
}

#[tokio::test(start_paused = true)]
async fn too_many_pings_ends_probes_and_doubles_the_time() {
    let mut timer = KeepaliveTimer::new(Keepalive::default().after_too_many_pings(2));
    timer.call_started();
    assert_eq!(due(&timer), Some((1_240_000, KeepaliveAction::Ping)));
    KeepaliveTimer::new(
        Keepalive { time: Duration::MAX, ..Keepalive::default() }.after_too_many_pings(u32::MAX),
    )
    .next_action(true);
}

/// A server that counts PINGs as A8 suggests, or as grpc-go does, where a PING that comes too early also resets the
/// clock.
#[derive(Default)]
struct Server {
    last: Option<Instant>,
    strikes: u32,
    streams: HashSet<u8>,
    go: bool,
}

impl Server {
    fn ping(&mut self) {
        let permit = if self.streams.is_empty() { 7200 * SECOND } else { 300 * SECOND };
        let early = self.last.is_some_and(|last| last + permit > Instant::now());
        self.strikes += u32::from(early);
        if !early || self.go {
            self.last = Some(Instant::now());
        }
    }

    fn speaks(&mut self) {
        (self.last, self.strikes) = (None, 0);
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Call,
    Answer,
    Message,
    GiveUp,
    Wait(u64),
}

#[derive(Clone, Copy)]
enum Frame {
    Headers(u8),
    Reset(u8),
    End(u8),
    Data,
    Ping,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Call),
        3 => Just(Act::Answer),
        1 => Just(Act::Message),
        1 => Just(Act::GiveUp),
        4 => (0..3000_u64).prop_map(Act::Wait),
        1 => (0..700_000_u64).prop_map(Act::Wait),
    ]
}

proptest! {
    /// Starts, answers and cancels calls at random times, over a network of any delay. No server with gRPC's defaults
    /// may receive a third PING too early.
    #[test]
    fn server_with_default_limits_never_rejects_pings(acts in prop::collection::vec(act(), 1..60), delay in 0..1900_u64, go: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (mut timer, mut server) = (KeepaliveTimer::new(Keepalive::default()), Server { go, ..Server::default() });
            let (mut up, mut down) = (VecDeque::<(Instant, Frame)>::new(), VecDeque::<(Instant, Frame)>::new());
            let delay = Duration::from_millis(delay);
            let (mut stream, mut open) = (1, BTreeSet::new());
            for act in acts {
                let until = match act {
                    Act::Wait(millis) => Instant::now() + Duration::from_millis(millis),
                    Act::Call if stream < 250 => {
                        timer.call_started();
                        open.insert(stream);
                        up.push_back((Instant::now() + delay, Frame::Headers(stream)));
                        stream += 2;
                        Instant::now()
                    }
                    Act::Call => Instant::now(),
                    Act::GiveUp => {
                        up.extend(open.pop_first().map(|stream| (Instant::now() + delay, Frame::Reset(stream))));
                        Instant::now()
                    }
                    Act::Answer | Act::Message => {
                        if let Some(stream) = server.streams.iter().min().copied() {
                            server.speaks();
                            let ends = matches!(act, Act::Answer);
                            if ends {
                                server.streams.remove(&stream);
                            }
                            let frame = if ends { Frame::End(stream) } else { Frame::Data };
                            down.push_back((Instant::now() + delay, frame));
                        }
                        Instant::now()
                    }
                };
                loop {
                    let next = [up.front().map(|(at, _)| *at), down.front().map(|(at, _)| *at), timer.next_action(!open.is_empty()).map(|(at, _)| at)];
                    let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= until) else { break };
                    advance(next.saturating_duration_since(Instant::now())).await;
                    if let Some((_, frame)) = up.pop_front_if(|(at, _)| *at <= next) {
                        match frame {
                            Frame::Headers(stream) => _ = server.streams.insert(stream),
                            Frame::Ping => {
                                server.ping();
                                prop_assert!(server.strikes <= 2);
                                down.push_back((Instant::now() + delay, Frame::Ping));
                            }
                            Frame::Reset(stream) => _ = server.streams.remove(&stream),
                            Frame::End(_) | Frame::Data => {}
                        }
                    } else if let Some((_, frame)) = down.pop_front_if(|(at, _)| *at <= next) {
                        match frame {
                            Frame::Headers(_) | Frame::Reset(_) => {}
                            Frame::End(stream) => {
                                open.remove(&stream);
                                receive_message(&mut timer);
                            }
                            Frame::Data => receive_message(&mut timer),
                            Frame::Ping => pong(&mut timer),
                        }
                    } else if let Some((_, KeepaliveAction::Ping)) = timer.next_action(!open.is_empty()) {
                        timer.ping_sent();
                        up.push_back((Instant::now() + delay, Frame::Ping));
                    } else {
                        // The delay is longer than the timeout, so the channel avoids the connection meanwhile.
                        timer.marked_silent();
                    }
                }
                advance(until.saturating_duration_since(Instant::now())).await;
            }
            Ok(())
        })?;
    }
}
