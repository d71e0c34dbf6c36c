//! Tracks what a connection waits for, and since when.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::{
    sync::SetOnce,
    time::{self, Instant},
};

use super::timeouts;
use crate::Shutdown;

/// The beginning of HTTP/2's preface (RFC 9113, section 3.4). No HTTP/1 request begins with it.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

/// Tracks the requests of one connection, and what it waits for its client to accept.
pub(super) struct Progress {
    state: Mutex<State>,
    /// Set once the client is known to speak HTTP/2.
    http2: SetOnce<()>,
}

struct State {
    accepted: Instant,
    received: usize,
    /// The number of requests so far, which is also the key of the latest one.
    requests: u64,
    in_flight: usize,
    /// The time when the last request ended.
    idle_since: Instant,
    /// The time since which the socket has not accepted a byte.
    blocked_since: Option<Instant>,
    /// The time since which the client has not accepted more of a response, by the key of its request.
    unread: HashMap<u64, Instant>,
}

/// The timeout that a client exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The client did not send its first bytes.
    Opening,
    /// The client did not accept the bytes of a response.
    Stalled,
}

/// One request, from its head to the end of its response.
pub(super) struct Exchange {
    progress: Arc<Progress>,
    key: u64,
}

/// The body of a response. Reports whether the response waits for its handler or for the client.
pub(super) struct ObservedBody {
    inner: Body,
    exchange: Exchange,
}

// === impl Progress ===

impl Progress {
    /// Creates the state of a connection that was just accepted.
    pub(super) fn new() -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            accepted: now,
            received: 0,
            requests: 0,
            in_flight: 0,
            idle_since: now,
            blocked_since: None,
            unread: HashMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state), http2: SetOnce::new() })
    }

    /// Starts a request.
    pub(super) fn start(self: &Arc<Self>, http2: bool) -> Exchange {
        if http2 {
            self.recognize_http2();
        }
        let mut state = self.state();
        state.in_flight += 1;
        state.requests += 1;
        Exchange { progress: Arc::clone(self), key: state.requests }
    }

    pub(super) fn received(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.received == 0 && bytes.starts_with(HTTP2) {
            self.recognize_http2();
        }
        state.received += bytes.len();
    }

    fn recognize_http2(&self) {
        // Further requests find it set.
        drop(self.http2.set(()));
    }

    pub(super) fn write_blocked(&self, blocked: bool) {
        let mut state = self.state();
        match (blocked, state.blocked_since) {
            (true, None) => state.blocked_since = Some(Instant::now()),
            (false, Some(_)) => state.blocked_since = None,
            _ => {}
        }
    }

    /// Waits until the client is known to speak HTTP/2: from its first bytes, or from its first request if those came in
    /// pieces.
    pub(super) async fn speaks_http2(&self) {
        self.http2.wait().await;
    }

    /// Waits until the client exceeds a timeout: for its first bytes, or for accepting the bytes of a response.
    pub(super) async fn overdue(&self, shutdown: &Shutdown) -> Overdue {
        loop {
            if shutdown.is_draining() {
                time::sleep(timeouts::CHECK_INTERVAL_WHILE_DRAINING).await;
            } else {
                // Wakes up when the drain begins, because the shorter timeout applies from then on.
                drop(time::timeout(timeouts::CHECK_INTERVAL, shutdown.draining()).await);
            }
            if let Some(overdue) = self.state().overdue(Instant::now(), shutdown.is_draining()) {
                return overdue;
            }
        }
    }

    /// Waits until there has been no request for `limit`; zero means forever.
    pub(super) async fn idle(&self, limit: Duration) {
        if limit.is_zero() {
            return std::future::pending().await;
        }
        loop {
            let idle_until = {
                let state = self.state();
                let since = if state.in_flight == 0 { state.idle_since } else { Instant::now() };
                since + limit
            };
            if idle_until <= Instant::now() {
                return;
            }
            time::sleep_until(idle_until).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn overdue(&self, now: Instant, draining: bool) -> Option<Overdue> {
        let opened = self.requests > 0 || self.received >= timeouts::OPENING_BYTES;
        if !opened && now - self.accepted >= timeouts::OPENING {
            return Some(Overdue::Opening);
        }
        let limit = if draining { timeouts::STALLED_WHILE_DRAINING } else { timeouts::STALLED };
        let stalled =
            self.blocked_since.iter().chain(self.unread.values()).any(|since| now - *since >= limit);
        stalled.then_some(Overdue::Stalled)
    }
}

// === impl Overdue ===

impl Overdue {
    /// Returns the value of the label `reason`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Stalled => "stalled",
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// Attaches the exchange to the body of its response, so that both end together.
    pub(super) fn respond(self, body: Body) -> ObservedBody {
        self.set_waiting_for_client(true);
        ObservedBody { inner: body, exchange: self }
    }

    fn set_waiting_for_client(&self, waiting: bool) {
        let mut state = self.progress.state();
        if waiting {
            state.unread.insert(self.key, Instant::now());
        } else {
            state.unread.remove(&self.key);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        state.unread.remove(&self.key);
        state.in_flight -= 1;
        state.idle_since = Instant::now();
    }
}

// === impl ObservedBody ===

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    /// hyper polls for the next frame once the client can accept it.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        self.exchange.set_waiting_for_client(frame.is_ready());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
