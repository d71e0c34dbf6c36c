//! Records the metrics of one call, from its start to the status that its caller gets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tonic::Code;

use super::{
    MessageSize,
    calls::{MessageBytes, Method},
};
use crate::transport::SentMessages;

/// The recording of a call. Dropping it before the end records the call as cancelled by its caller.
#[derive(Debug)]
pub(crate) struct Recording {
    method: Arc<Method>,
    called: Instant,
    /// The start of the current attempt, if there is one.
    attempt: Option<Instant>,
    /// The end of the last attempt, if none is in flight.
    paused: Option<Instant>,
    /// The time without an attempt in flight, after the first attempt.
    delay: Duration,
    retries: u32,
    transparent: u32,
    hedges: u32,
    /// The transparent retries of concurrent attempts.
    within: Option<Arc<AtomicU32>>,
    /// The messages that the current attempt has sent.
    sent: SentMessages,
    received: MessageSize,
    outcome: Code,
}

/// The recording of a hedge. Dropping it records the hedge as cancelled.
#[derive(Debug)]
pub(crate) struct HedgeRecording {
    method: Arc<Method>,
    began: Instant,
    sent: SentMessages,
    /// The status of the hedge; `None` if the recording of the call continues with this attempt.
    outcome: Option<Code>,
}

/// Records the transparent retries of concurrent attempts.
#[derive(Clone, Debug)]
pub(crate) struct ResentRecording {
    method: Arc<Method>,
    count: Arc<AtomicU32>,
}

// === impl ResentRecording ===

impl ResentRecording {
    /// Records an attempt that has ended with this code, and that a transparent retry replaces.
    pub(crate) fn record(&self, code: Code, began: Instant, sent: &SentMessages) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let traffic = MessageBytes { sent: sent.bytes(), received: 0 };
        self.method.attempt_ended(code, began.elapsed(), traffic);
        self.method.attempt_started();
    }
}

// === impl HedgeRecording ===

impl HedgeRecording {
    /// Records that the hedge failed before a response began.
    pub(crate) fn failed(mut self, code: Code) {
        self.outcome = Some(code);
    }
}

impl Drop for HedgeRecording {
    fn drop(&mut self) {
        if let Some(code) = self.outcome {
            let traffic = MessageBytes { sent: self.sent.bytes(), received: 0 };
            self.method.attempt_ended(code, self.began.elapsed(), traffic);
        }
    }
}

// === impl Recording ===

impl Recording {
    pub(super) fn new(method: Arc<Method>) -> Self {
        Self {
            method,
            called: Instant::now(),
            attempt: None,
            paused: None,
            delay: Duration::ZERO,
            retries: 0,
            transparent: 0,
            hedges: 0,
            within: None,
            sent: SentMessages::Nothing,
            received: MessageSize::default(),
            outcome: Code::Cancelled,
        }
    }

    /// Records the start of an attempt, before a subchannel is picked.
    pub(crate) fn attempt_begins(&mut self) {
        self.method.attempt_started();
        // The first attempt begins with the call.
        let began = match self.paused.take() {
            None => self.called,
            Some(paused) => {
                let now = Instant::now();
                self.delay += now - paused;
                now
            }
        };
        self.attempt = Some(began);
    }

    /// Sets the counter of the messages that the attempt sends.
    pub(crate) fn sends(&mut self, sent: SentMessages) {
        self.sent = sent;
    }

    /// Sets the messages of the response.
    pub(crate) fn received(&mut self, received: MessageSize) {
        self.received = received;
    }

    /// Returns the recording of transparent retries of concurrent attempts.
    pub(crate) fn resent_within(&mut self) -> ResentRecording {
        let count = self.within.get_or_insert_default().clone();
        ResentRecording { method: self.method.clone(), count }
    }

    /// Records the start of a hedge, which sends these messages.
    pub(crate) fn hedge(&mut self, sent: SentMessages) -> HedgeRecording {
        self.method.attempt_started();
        self.hedges += 1;
        HedgeRecording {
            method: self.method.clone(),
            began: Instant::now(),
            sent,
            outcome: Some(Code::Cancelled),
        }
    }

    /// Continues the call with the hedge. An attempt in flight is recorded as cancelled.
    pub(crate) fn hedge_won(&mut self, mut hedge: HedgeRecording) {
        if self.attempt.is_some() {
            self.attempt_failed(Code::Cancelled);
        }
        hedge.outcome = None;
        (self.attempt, self.paused) = (Some(hedge.began), None);
    }

    /// Records that the attempt failed before a response began.
    pub(crate) fn attempt_failed(&mut self, code: Code) {
        let now = Instant::now();
        if let Some(began) = self.attempt.take() {
            self.method.attempt_ended(code, now - began, self.traffic());
        }
        self.sent = SentMessages::Nothing;
        self.paused = Some(now);
    }

    /// Records that a retry of the call follows.
    pub(crate) fn resent(&mut self, transparent: bool) {
        *(if transparent { &mut self.transparent } else { &mut self.retries }) += 1;
    }

    /// Records the end of the call and of its attempt in flight.
    pub(crate) fn end(mut self, code: Code) {
        self.outcome = code;
    }

    fn traffic(&self) -> MessageBytes {
        MessageBytes { sent: self.sent.bytes(), received: self.received.bytes() }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let now = Instant::now();
        let (code, took) = (self.outcome, now - self.called);
        let within = self.within.as_ref().map_or(0, |count| count.load(Ordering::Relaxed));
        let transparent = self.transparent + within;
        let resent = self.retries + transparent + self.hedges > 0;
        match self.attempt {
            Some(_) if !resent => return self.method.single_ended(code, took, self.traffic()),
            Some(began) => self.method.attempt_ended(code, now - began, self.traffic()),
            None => {}
        }
        self.method.call_ended(code, took);
        if resent {
            // A wait for a retry that did not start counts as delay too.
            let waited = self.paused.map_or(Duration::ZERO, |paused| now - paused);
            self.method.resent(self.retries, transparent, self.hedges, self.delay + waited);
        }
    }
}
