//! A request body that can be sent more than once.
//!
//! A unary call has one message, which is read before the first attempt and shared by all of them.
//! The messages of a stream are kept, up to a limit, until the response begins.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Status, body::Body};

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
        /// How many of the kept messages it has sent.
        at: usize,
    },
}

/// A streaming body, and what was read of it.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Body,
    kept: Vec<Bytes>,
    /// How many more bytes may be kept; `None` when nothing is kept any more, and so nothing can be
    /// repeated once it is read.
    room: Option<usize>,
    ended: bool,
    attempt: u32,
}

// === impl Source ===

impl Source {
    /// Takes a body, and reads what is there of it: of a unary call, all.
    pub(crate) async fn read(body: Body, room: usize) -> Result<Self, Status> {
        let mut stream = Stream { body, kept: Vec::new(), room: Some(room), ended: false, attempt: 0 };
        // The message, and the end after it.
        for _ in 0..2 {
            match std::future::poll_fn(|cx| Poll::Ready(stream.poll_body(cx))).await {
                Poll::Ready(Some(data)) => stream.keep(data?),
                Poll::Ready(None) if stream.room.is_some() && stream.kept.len() <= 1 => {
                    return Ok(Self::Whole(stream.kept.pop().unwrap_or_default()));
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Ok(Self::Stream(Arc::new(Mutex::new(stream))))
    }

    /// The body for the next attempt; the one before reads no more.
    pub(crate) fn attempt(&self) -> RequestBody {
        match self {
            Self::Whole(data) => RequestBody::Whole(data.clone()),
            Self::Stream(stream) => {
                let mut locked = lock(stream);
                locked.attempt += 1;
                RequestBody::Stream { stream: stream.clone(), attempt: locked.attempt, at: 0 }
            }
        }
    }

    /// Whether another attempt would send the same bytes.
    pub(crate) fn can_repeat(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Stream(stream) => lock(stream).room.is_some(),
        }
    }

    /// The response has begun: nothing will be sent again, and what was kept may go.
    pub(crate) fn commit(&self) {
        if let Self::Stream(stream) = self {
            lock(stream).commit();
        }
    }
}

// === impl Stream ===

impl Stream {
    fn keep(&mut self, data: Bytes) {
        match self.room.map(|room| room.checked_sub(data.len())) {
            Some(Some(left)) => {
                self.room = Some(left);
                self.kept.push(data);
            }
            Some(None) => self.room = None,
            None => {}
        }
    }

    fn commit(&mut self) {
        self.room = None;
    }

    /// The next piece for the reader that has sent `at` kept ones.
    fn poll_next(&mut self, at: &mut usize, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        if let Some(data) = self.kept.get_mut(*at) {
            *at += 1;
            // After the commit there is one reader, and it will not come back.
            let data = if self.room.is_none() { mem::take(data) } else { data.clone() };
            return Poll::Ready(Some(Ok(data)));
        }
        if self.room.is_none() {
            self.kept = Vec::new();
            *at = 0;
        }
        let next = ready!(self.poll_body(cx));
        if let Some(Ok(data)) = &next {
            self.keep(data.clone());
            *at = self.kept.len();
        }
        Poll::Ready(next)
    }

    /// The next piece of what the caller sends. Requests have no trailers in gRPC.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        while !self.ended {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(status)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(status)));
                }
                None => self.ended = true,
            }
        }
        Poll::Ready(None)
    }
}

// === impl RequestBody ===

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Whole(data) if data.is_empty() => Poll::Ready(None),
            Self::Whole(data) => Poll::Ready(Some(Ok(Frame::data(mem::take(data))))),
            Self::Stream { stream, attempt, at } => {
                let mut stream = lock(stream);
                if stream.attempt != *attempt {
                    return Poll::Ready(Some(Err(Status::cancelled("the call goes on elsewhere"))));
                }
                Poll::Ready(ready!(stream.poll_next(at, cx)).map(|data| data.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(data) => data.is_empty(),
            Self::Stream { stream, at, .. } => {
                let stream = lock(stream);
                *at >= stream.kept.len() && (stream.ended || stream.body.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(data) => SizeHint::with_exact(data.len() as u64),
            Self::Stream { .. } => SizeHint::default(),
        }
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    // Nothing panics while holding it; if something did, the bytes are still whole.
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
