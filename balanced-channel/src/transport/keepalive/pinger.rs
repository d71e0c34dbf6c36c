//! Runs the keepalive of a connection: sets the timer, sends PINGs and receives the answers.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Keepalive, KeepaliveAction, KeepaliveTimer};
use crate::transport::shared::Shared;

/// The keepalive of one connection.
pub(crate) struct Pinger {
    timer: KeepaliveTimer,
    pings: PingPong,
    /// The number of reads at the last check.
    reads: u64,
    responses: u64,
    last_opened_stream: u32,
    /// Ends when the next action is due, or earlier.
    alarm: Pin<Box<Sleep>>,
    /// The waker of the alarm. Resetting the alarm for each call would cost more than the call.
    waker: Option<Waker>,
}

// === impl Pinger ===

impl Pinger {
    pub(crate) fn new(config: Keepalive, pings: PingPong) -> Self {
        Self {
            timer: KeepaliveTimer::new(config),
            pings,
            reads: 0,
            responses: 0,
            last_opened_stream: 0,
            alarm: Box::pin(sleep_until(Instant::now())),
            waker: None,
        }
    }

    /// Performs the actions that are due. Ready once the connection must be closed. The driver polls this after it has
    /// polled the connection.
    pub(crate) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
        self.observe(shared);
        if self.timer.awaits_pong() && self.pings.poll_pong(cx).is_ready() {
            self.timer.pong_received();
        }
        while let Some((at, due)) = self.timer.next_action(shared.quota.in_use()) {
            // A timer that ends earlier is kept, as each response postpones the next action.
            let set = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if set && !self.alarm.is_elapsed() && self.alarm.deadline() <= at {
                break;
            }
            if at > Instant::now() {
                self.alarm.as_mut().reset(at);
                if self.alarm.as_mut().poll(cx).is_pending() {
                    self.waker = Some(cx.waker().clone());
                    break;
                }
                continue;
            }
            if self.timer.extend_after_stall(at) {
                continue;
            }
            match due {
                KeepaliveAction::Ping => {
                    self.timer.ping_sent();
                    // Fails only if the connection has ended.
                    let _ = self.pings.send_ping(Ping::opaque());
                    if self.pings.poll_pong(cx).is_ready() {
                        self.timer.pong_received();
                    }
                }
                KeepaliveAction::MarkSilent => {
                    self.timer.marked_silent();
                    shared.peer.send_modify(|peer| peer.silent = true);
                }
                KeepaliveAction::Close => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Updates the timer with the frames since the last call.
    fn observe(&mut self, shared: &Shared) {
        let observed = &shared.observed;
        if mem::replace(&mut self.reads, observed.reads.get()) != observed.reads.get()
            && self.timer.bytes_read()
        {
            shared.peer.send_modify(|peer| peer.silent = false);
        }
        if mem::replace(&mut self.responses, observed.responses.get()) != observed.responses.get() {
            self.timer.message_read();
        }
        let last_opened_stream = observed.last_opened_stream.load(Ordering::Relaxed);
        if mem::replace(&mut self.last_opened_stream, last_opened_stream) != last_opened_stream {
            self.timer.call_started();
        }
    }
}
