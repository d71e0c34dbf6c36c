//! A request body that can be sent more than once.
//!
//! A unary call has one message, which is read before the first attempt and shared by all of them.
//! The messages of a stream are kept, up to a limit, until the response begins.

mod attempt_body;
mod streaming_body;

use std::{
    sync::{Arc, Mutex},
    task::Poll,
};

pub(crate) use attempt_body::RequestBody;
use bytes::Bytes;
pub(crate) use streaming_body::Stream;
use streaming_body::lock;
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

/// What an attempt has sent of its request.
#[derive(Debug)]
pub(crate) enum Sent {
    Nothing,
    /// This many bytes of messages.
    Whole(u64),
    /// As much as has been read of it.
    Stream(Arc<Mutex<Stream>>),
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
        let mut stream = Stream::new(body, room);
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
