//! Keepalive at work on one connection: sets the alarm, sends the pings and sees the answers.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Waker},
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Due, Keepalive, Watchdog};
use crate::transport::shared::Link;

/// The keepalive of one connection.
pub(crate) struct Heartbeat {
    dog: Watchdog,
    pings: PingPong,
    /// What had passed when it was last looked at.
    reads: u64,
    answers: u64,
    opened: u32,
    /// Wakes at the time that was due next when it was set, or earlier.
    alarm: Pin<Box<Sleep>>,
    /// Whom the alarm wakes; setting it anew each time would cost more than a call.
    woken: Option<Waker>,
}

/// What is to be done.
pub(crate) enum Beat {
    /// To wait; the task is woken for what comes next.
    Wait,
    /// To give the connection up.
    GiveUp,
}

// === impl Heartbeat ===

impl Heartbeat {
    pub(crate) fn new(config: Keepalive, pings: PingPong) -> Self {
        Self {
            dog: Watchdog::new(config),
            pings,
            reads: 0,
            answers: 0,
            opened: 0,
            alarm: Box::pin(sleep_until(Instant::now())),
            woken: None,
        }
    }

    /// Does what is due by now. To be asked after the connection has read and written what it could.
    pub(crate) fn poll(&mut self, link: &Link, cx: &mut Context<'_>) -> Beat {
        self.look(link);
        if self.dog.expects_pong() && self.pings.poll_pong(cx).is_ready() {
            self.dog.answered();
        }
        while let Some((at, due)) = self.dog.due(link.slots.in_use()) {
            // An alarm that rings before is enough: each answer puts off what is due.
            let set = self.woken.as_ref().is_some_and(|woken| woken.will_wake(cx.waker()));
            if set && !self.alarm.is_elapsed() && self.alarm.deadline() <= at {
                break;
            }
            if at > Instant::now() {
                self.alarm.as_mut().reset(at);
                if self.alarm.as_mut().poll(cx).is_pending() {
                    self.woken = Some(cx.waker().clone());
                    break;
                }
                continue;
            }
            match due {
                Due::Ping => {
                    self.dog.pinged();
                    // It fails on a connection that has ended, and then nothing is due any more.
                    let _ = self.pings.send_ping(Ping::opaque());
                    if self.pings.poll_pong(cx).is_ready() {
                        self.dog.answered();
                    }
                }
                Due::Avoid => {
                    self.dog.avoided();
                    link.peer.send_modify(|peer| peer.silent = true);
                }
                Due::GiveUp => return Beat::GiveUp,
            }
        }
        Beat::Wait
    }

    /// Sees what has passed since it last looked.
    fn look(&mut self, link: &Link) {
        let passed = &link.passed;
        if mem::replace(&mut self.reads, passed.reads.get()) != passed.reads.get() && self.dog.read() {
            link.peer.send_modify(|peer| peer.silent = false);
        }
        if mem::replace(&mut self.answers, passed.answers.get()) != passed.answers.get() {
            self.dog.spoken();
        }
        let opened = passed.opened.load(Ordering::Relaxed);
        if mem::replace(&mut self.opened, opened) != opened {
            self.dog.asked();
        }
    }
}
