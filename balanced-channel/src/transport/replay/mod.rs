//! A request body that can be sent more than once.
//!
//! A unary call has one message, which is read before the first attempt and shared by all attempts. The messages of a
//! streaming request are kept, up to a limit, until the response begins.

mod attempt_body;
mod streaming_body;

use std::{
    sync::{Arc, Mutex},
    task::Poll,
};

pub(crate) use attempt_body::AttemptBody;
use bytes::Bytes;
pub(crate) use streaming_body::StreamingBody;
use streaming_body::lock;
use tonic::{Status, body::Body};

use crate::metrics::MessageSize;

/// The request body of the caller, which every attempt reads.
#[derive(Debug)]
pub(crate) enum ReplayBody {
    /// The whole body, in one piece.
    Whole(Bytes),
    /// A body that comes in pieces.
    Stream(Arc<Mutex<StreamingBody>>),
}

/// The part of its request that an attempt has sent.
#[derive(Debug)]
pub(crate) enum SentMessages {
    Nothing,
    /// The whole body, with this many bytes of messages.
    Whole(u64),
    /// The part of a streaming request that was read so far.
    Stream(Arc<Mutex<StreamingBody>>),
}

/// Ends the upload of a call when it is dropped: the server has sent the status, or the caller dropped the response.
#[derive(Debug)]
pub(crate) struct UploadGuard(Arc<Mutex<StreamingBody>>);

// === impl ReplayBody ===

impl ReplayBody {
    /// Wraps a body, and reads the part that is available: the whole body of a unary call. The first message is kept
    /// at any size, because the caller has it in memory already.
    pub(crate) async fn read(body: Body, buffer_left: usize) -> Result<Self, Status> {
        let mut stream = StreamingBody::new(body, buffer_left);
        let first = match stream.next_if_ready().await {
            Poll::Ready(Some(data)) => data,
            Poll::Ready(None) => return stream.whole(Bytes::new()),
            Poll::Pending => return Ok(Self::Stream(Arc::new(Mutex::new(stream)))),
        };
        match stream.next_if_ready().await {
            Poll::Ready(Some(second)) => [first, second].into_iter().for_each(|data| stream.keep(data)),
            Poll::Ready(None) => return stream.whole(first),
            Poll::Pending => stream.keep(first),
        }
        Ok(Self::Stream(Arc::new(Mutex::new(stream))))
    }

    /// Returns the body for the next attempt. The body of the previous attempt yields no more data.
    pub(crate) fn attempt(&self) -> AttemptBody {
        match self {
            Self::Whole(data) => AttemptBody::Whole(data.clone()),
            Self::Stream(stream) => {
                let mut current = lock(stream);
                let attempt = current.supersede();
                current.sent = MessageSize::default();
                AttemptBody::Stream { stream: stream.clone(), attempt, position: 0 }
            }
        }
    }

    /// Returns the part that the latest attempt has sent.
    pub(crate) fn sent(&self) -> SentMessages {
        match self {
            Self::Whole(data) => SentMessages::Whole(MessageSize::of(data)),
            Self::Stream(stream) => SentMessages::Stream(stream.clone()),
        }
    }

    /// Returns whether another attempt would send the same bytes.
    pub(crate) fn can_repeat(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Stream(stream) => {
                let stream = lock(stream);
                !stream.committed && stream.error.is_none()
            }
        }
    }

    /// Returns whether a further attempt may start. `alone` is false if other attempts are in flight; in that case the
    /// request must be complete, because a stream has one reader.
    pub(crate) fn can_hedge(&self, alone: bool) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Stream(_) => alone && self.can_repeat(),
        }
    }

    /// Returns the error of the caller's body, if it failed.
    pub(crate) fn error(&self) -> Option<Status> {
        match self {
            Self::Whole(_) => None,
            Self::Stream(stream) => lock(stream).error.clone(),
        }
    }

    /// Drops the kept data: the response has begun, so nothing will be sent again.
    pub(crate) fn commit(&self) {
        if let Self::Stream(stream) = self {
            lock(stream).committed = true;
        }
    }

    /// Returns the guard by which the response keeps the upload alive; `None` for a complete body.
    pub(crate) fn upload(&self) -> Option<UploadGuard> {
        match self {
            Self::Whole(_) => None,
            Self::Stream(stream) => Some(UploadGuard(stream.clone())),
        }
    }
}

// === impl SentMessages ===

impl SentMessages {
    /// Returns the number of bytes of messages so far.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Whole(bytes) => *bytes,
            Self::Stream(stream) => lock(stream).sent.bytes(),
        }
    }
}

// === impl UploadGuard ===

impl Drop for UploadGuard {
    fn drop(&mut self) {
        lock(&self.0).supersede();
    }
}
