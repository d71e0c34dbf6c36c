//! A request body that can be sent more than once.
//!
//! A unary call has one message, which is read before the first attempt and shared by all of them.
//! The messages of a stream are kept, up to a limit, until the response begins.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::Reason;
use http_body::Body as _;
use tonic::{Status, body::Body};

use crate::metrics::MessageSize;

/// What the caller sends, and every attempt reads.
#[derive(Debug)]
pub(crate) enum Source {
    /// The whole body, in one piece.
    Whole(Bytes),
    /// A body that comes in pieces.
    Stream(Arc<Mutex<Stream>>),
}

/// The body of one attempt.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Whole(Bytes),
    Stream {
        stream: Arc<Mutex<Stream>>,
        /// The number of the attempt; only the latest one may read.
        attempt: u32,
        /// How many of the kept pieces it has sent.
        at: usize,
    },
}

/// What an attempt has sent of its request.
#[derive(Debug)]
pub(crate) enum Sent {
    Nothing,
    /// This many bytes of messages.
    Whole(u64),
    /// As much as has been read of it.
    Stream(Arc<Mutex<Stream>>),
}

/// A streaming body, and what was read of it.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Body,
    kept: Vec<Bytes>,
    /// How many more bytes may be kept.
    room: usize,
    /// Whether the attempt under way is the last: what it reads is not kept any more.
    committed: bool,
    ended: bool,
    /// Why the caller's body broke off.
    broken: Option<Status>,
    attempt: u32,
    /// What that attempt has read.
    sent: MessageSize,
    /// Wakes the attempt that waits for the next piece.
    reader: Option<Waker>,
}

/// A response's hold on the upload that it answers. Dropping it ends the upload: the server has said
/// how the attempt ended, or nobody wants to know any more.
#[derive(Debug)]
pub(crate) struct Upload(Arc<Mutex<Stream>>);

// === impl Source ===

impl Source {
    /// Takes a body, and reads what is there of it: of a unary call, all. The first message is kept
    /// whatever its size, for the caller holds it anyway.
    pub(crate) async fn read(body: Body, room: usize) -> Result<Self, Status> {
        let mut stream = Stream {
            body,
            kept: Vec::new(),
            room,
            committed: false,
            ended: false,
            broken: None,
            attempt: 0,
            sent: MessageSize::default(),
            reader: None,
        };
        let first = match stream.what_is_there().await {
            Poll::Ready(Some(data)) => data,
            Poll::Ready(None) => return stream.whole(Bytes::new()),
            Poll::Pending => return Ok(Self::Stream(Arc::new(Mutex::new(stream)))),
        };
        match stream.what_is_there().await {
            Poll::Ready(Some(second)) => [first, second].into_iter().for_each(|data| stream.keep(data)),
            Poll::Ready(None) => return stream.whole(first),
            Poll::Pending => stream.keep(first),
        }
        Ok(Self::Stream(Arc::new(Mutex::new(stream))))
    }

    /// The body for the next attempt; the one before reads no more.
    pub(crate) fn attempt(&self) -> RequestBody {
        match self {
            Self::Whole(data) => RequestBody::Whole(data.clone()),
            Self::Stream(stream) => {
                let mut current = lock(stream);
                let attempt = current.supersede();
                current.sent = MessageSize::default();
                RequestBody::Stream { stream: stream.clone(), attempt, at: 0 }
            }
        }
    }

    /// What the latest attempt has sent.
    pub(crate) fn sent(&self) -> Sent {
        match self {
            Self::Whole(data) => Sent::Whole(MessageSize::of(data)),
            Self::Stream(stream) => Sent::Stream(stream.clone()),
        }
    }

    /// Whether another attempt would send the same bytes.
    pub(crate) fn can_repeat(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Stream(stream) => {
                let stream = lock(stream);
                !stream.committed && stream.broken.is_none()
            }
        }
    }

    /// Why the caller's body broke off, if it did.
    pub(crate) fn broken(&self) -> Option<Status> {
        match self {
            Self::Whole(_) => None,
            Self::Stream(stream) => lock(stream).broken.clone(),
        }
    }

    /// The response has begun: nothing will be sent again, and what was kept may go.
    pub(crate) fn commit(&self) {
        if let Self::Stream(stream) = self {
            lock(stream).committed = true;
        }
    }

    /// The hold of a response on the upload that it answers.
    pub(crate) fn upload(&self) -> Option<Upload> {
        match self {
            Self::Whole(_) => None,
            Self::Stream(stream) => Some(Upload(stream.clone())),
        }
    }
}

// === impl Sent ===

impl Sent {
    /// The bytes of messages so far.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Whole(bytes) => *bytes,
            Self::Stream(stream) => lock(stream).sent.bytes(),
        }
    }
}

// === impl Upload ===

impl Drop for Upload {
    fn drop(&mut self) {
        lock(&self.0).supersede();
    }
}

// === impl Stream ===

impl Stream {
    /// A piece, or the end, if it need not be waited for.
    async fn what_is_there(&mut self) -> Poll<Option<Bytes>> {
        poll_fn(|cx| Poll::Ready(self.poll_body(cx))).await
    }

    /// What has ended is no stream.
    fn whole(self, data: Bytes) -> Result<Source, Status> {
        self.broken.map_or(Ok(Source::Whole(data)), Err)
    }

    fn keep(&mut self, data: Bytes) {
        self.room = self.room.saturating_sub(data.len());
        self.kept.push(data);
    }

    /// Sends the attempt that reads away; the number of the one that may read from now on.
    fn supersede(&mut self) -> u32 {
        self.attempt += 1;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        self.attempt
    }

    /// The next piece for the reader that has sent `at` kept ones.
    fn poll_next(&mut self, at: &mut usize, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
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

// === impl RequestBody ===

impl RequestBody {
    /// The next piece. An error is the reason to reset the server's stream with.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Reason>>> {
        match self {
            Self::Whole(data) if data.is_empty() => Poll::Ready(None),
            Self::Whole(data) => Poll::Ready(Some(Ok(mem::take(data)))),
            Self::Stream { stream, attempt, at } => {
                let mut stream = lock(stream);
                if stream.attempt != *attempt {
                    return Poll::Ready(Some(Err(Reason::CANCEL)));
                }
                match stream.poll_next(at, cx) {
                    Poll::Ready(Some(data)) => {
                        stream.sent.add(&data);
                        Poll::Ready(Some(Ok(data)))
                    }
                    Poll::Ready(None) => Poll::Ready(stream.broken.is_some().then_some(Err(Reason::CANCEL))),
                    Poll::Pending => {
                        stream.reader = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            }
        }
    }

    /// Waits until it may read no more: there is a later attempt, or nobody wants to know any more.
    pub(crate) fn poll_superseded(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Self::Stream { stream, attempt, .. } = self else { return Poll::Pending };
        let mut stream = lock(stream);
        if stream.attempt != *attempt {
            return Poll::Ready(());
        }
        stream.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether all of it was read.
    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(data) => data.is_empty(),
            Self::Stream { stream, attempt, at } => {
                let stream = lock(stream);
                stream.attempt == *attempt
                    && *at >= stream.kept.len()
                    && stream.broken.is_none()
                    && (stream.ended || stream.body.is_end_stream())
            }
        }
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    // Nothing panics while holding it; if something did, the bytes are still whole.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
