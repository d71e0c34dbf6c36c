//! A streaming request body that one attempt after another reads.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::Body as _;
use tonic::{Status, body::Body};

use super::ReplayBody;
use crate::metrics::MessageSize;

/// A streaming body, and the pieces that were read from it.
#[derive(Debug)]
pub(crate) struct StreamingBody {
    pub(super) body: Body,
    pub(super) buffered: Vec<Bytes>,
    /// The number of further bytes that may be kept.
    buffer_left: usize,
    /// True if no further attempt will follow, so that pieces are no longer kept.
    pub(super) committed: bool,
    pub(super) ended: bool,
    /// The error of the caller's body.
    pub(super) error: Option<Status>,
    pub(super) attempt: u32,
    /// The part that the attempt has read.
    pub(super) sent: MessageSize,
    /// Wakes the attempt that waits for the next piece.
    pub(super) waker: Option<Waker>,
}

// === impl StreamingBody ===

impl StreamingBody {
    /// Creates a body that keeps up to `buffer_left` bytes for retries.
    pub(super) fn new(body: Body, buffer_left: usize) -> Self {
        Self {
            body,
            buffered: Vec::new(),
            buffer_left,
            committed: false,
            ended: false,
            error: None,
            attempt: 0,
            sent: MessageSize::default(),
            waker: None,
        }
    }

    /// Returns the next piece, or the end, if it is available without waiting.
    pub(super) async fn next_if_ready(&mut self) -> Poll<Option<Bytes>> {
        poll_fn(|cx| Poll::Ready(self.poll_body(cx))).await
    }

    /// Returns a body that has ended as one complete piece.
    pub(super) fn whole(self, data: Bytes) -> Result<ReplayBody, Status> {
        self.error.map_or(Ok(ReplayBody::Whole(data)), Err)
    }

    pub(super) fn keep(&mut self, data: Bytes) {
        self.buffer_left = self.buffer_left.saturating_sub(data.len());
        self.buffered.push(data);
    }

    /// Stops the attempt that is reading. Returns the number of the attempt that may read from now on.
    pub(super) fn supersede(&mut self) -> u32 {
        self.attempt += 1;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        self.attempt
    }

    /// Returns the next piece for an attempt that has sent `position` kept pieces.
    pub(super) fn poll_next(&mut self, position: &mut usize, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(data) = self.buffered.get_mut(*position) {
            *position += 1;
            return Poll::Ready(Some(if self.committed { mem::take(data) } else { data.clone() }));
        }
        let next = ready!(self.poll_body(cx));
        if let Some(data) = &next {
            match self.buffer_left.checked_sub(data.len()) {
                Some(buffer_left) if !self.committed => {
                    self.buffer_left = buffer_left;
                    self.buffered.push(data.clone());
                }
                _ => {
                    self.committed = true;
                    self.buffered = Vec::new();
                }
            }
            *position = self.buffered.len();
        }
        Poll::Ready(next)
    }

    /// Returns the next piece from the caller. Requests have no trailers in gRPC.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while !self.ended {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(data));
                    }
                }
                Some(Err(status)) => {
                    self.ended = true;
                    self.error = Some(status);
                }
                None => self.ended = true,
            }
        }
        Poll::Ready(None)
    }
}

pub(super) fn lock(stream: &Mutex<StreamingBody>) -> MutexGuard<'_, StreamingBody> {
    // No code panics while it holds the lock, and the kept bytes would still be complete if it did.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
