//! The request body as one attempt reads it.

use std::{
    mem,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::Reason;
use http_body::Body as _;

use super::streaming_body::{StreamingBody, lock};

/// The request body as one attempt reads it.
#[derive(Debug)]
pub(crate) enum AttemptBody {
    Whole(Bytes),
    Stream {
        stream: Arc<Mutex<StreamingBody>>,
        /// The number of the attempt; only the latest one may read.
        attempt: u32,
        /// The number of kept pieces that the attempt has sent.
        position: usize,
    },
}

// === impl AttemptBody ===

impl AttemptBody {
    /// Returns the next piece. An error is the reason with which to reset the stream.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Reason>>> {
        match self {
            Self::Whole(data) if data.is_empty() => Poll::Ready(None),
            Self::Whole(data) => Poll::Ready(Some(Ok(mem::take(data)))),
            Self::Stream { stream, attempt, position } => {
                let mut stream = lock(stream);
                if stream.attempt != *attempt {
                    return Poll::Ready(Some(Err(Reason::CANCEL)));
                }
                match stream.poll_next(position, cx) {
                    Poll::Ready(Some(data)) => {
                        stream.sent.add(&data);
                        Poll::Ready(Some(Ok(data)))
                    }
                    Poll::Ready(None) => Poll::Ready(stream.error.is_some().then_some(Err(Reason::CANCEL))),
                    Poll::Pending => {
                        stream.waker = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            }
        }
    }

    /// Waits until the attempt may read no more: a later attempt has begun, or the response was dropped.
    pub(crate) fn poll_superseded(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Self::Stream { stream, attempt, .. } = self else { return Poll::Pending };
        let mut stream = lock(stream);
        if stream.attempt != *attempt {
            return Poll::Ready(());
        }
        stream.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns whether the whole body was read.
    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(data) => data.is_empty(),
            Self::Stream { stream, attempt, position } => {
                let stream = lock(stream);
                stream.attempt == *attempt
                    && *position >= stream.buffered.len()
                    && stream.error.is_none()
                    && (stream.ended || stream.body.is_end_stream())
            }
        }
    }
}
