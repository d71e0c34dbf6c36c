//! A streaming body, read by one attempt after another.

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

use super::Source;
use crate::metrics::MessageSize;

/// A streaming body, and what was read of it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) body: Body,
    pub(super) kept: Vec<Bytes>,
    /// How many more bytes may be kept.
    room: usize,
    /// Whether the attempt under way is the last: what it reads is not kept any more.
    pub(super) committed: bool,
    pub(super) ended: bool,
    /// Why the caller's body broke off.
    pub(super) broken: Option<Status>,
    pub(super) attempt: u32,
    /// What that attempt has read.
    pub(super) sent: MessageSize,
    /// Wakes the attempt that waits for the next piece.
    pub(super) reader: Option<Waker>,
}

// === impl Stream ===

impl Stream {
    /// A body of which up to `room` bytes are kept.
    pub(super) fn new(body: Body, room: usize) -> Self {
        Self {
            body,
            kept: Vec::new(),
            room,
            committed: false,
            ended: false,
            broken: None,
            attempt: 0,
            sent: MessageSize::default(),
            reader: None,
        }
    }

    /// A piece, or the end, if it need not be waited for.
    pub(super) async fn what_is_there(&mut self) -> Poll<Option<Bytes>> {
        poll_fn(|cx| Poll::Ready(self.poll_body(cx))).await
    }

    /// What has ended is no stream.
    pub(super) fn whole(self, data: Bytes) -> Result<Source, Status> {
        self.broken.map_or(Ok(Source::Whole(data)), Err)
    }

    pub(super) fn keep(&mut self, data: Bytes) {
        self.room = self.room.saturating_sub(data.len());
        self.kept.push(data);
    }

    /// Sends the attempt that reads away; the number of the one that may read from now on.
    pub(super) fn supersede(&mut self) -> u32 {
        self.attempt += 1;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        self.attempt
    }

    /// The next piece for the reader that has sent `at` kept ones.
    pub(super) fn poll_next(&mut self, at: &mut usize, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(data) = self.kept.get_mut(*at) {
            *at += 1;
            return Poll::Ready(Some(if self.committed { mem::take(data) } else { data.clone() }));
        }
        let next = ready!(self.poll_body(cx));
        if let Some(data) = &next {
            match self.room.checked_sub(data.len()) {
                Some(room) if !self.committed => {
                    self.room = room;
                    self.kept.push(data.clone());
                }
                _ => {
                    self.committed = true;
                    self.kept = Vec::new();
                }
            }
            *at = self.kept.len();
        }
        Poll::Ready(next)
    }

    /// The next piece of what the caller sends. Requests have no trailers in gRPC.
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
                    self.broken = Some(status);
                }
                None => self.ended = true,
            }
        }
        Poll::Ready(None)
    }
}

pub(super) fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    // Nothing panics while holding it; if something did, the bytes are still whole.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
