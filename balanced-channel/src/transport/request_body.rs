//! Writes the body of a streaming request to its HTTP/2 stream, as fast as the peer's windows allow.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::replay::AttemptBody;

/// Writes a body to a stream. Ends with the body, or when either side resets the stream.
#[derive(Debug)]
pub(super) struct RequestBodyWriter {
    body: AttemptBody,
    stream: SendStream<Bytes>,
    /// The piece that waits for the peer's window, and true if it is the last.
    pending: Option<(Bytes, bool)>,
}

// === impl RequestBodyWriter ===

impl RequestBodyWriter {
    pub(super) fn new(body: AttemptBody, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, pending: None }
    }

    /// Writes as much as the windows allow. An error means that the stream has ended; the response has the reason.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            if self.stream.poll_reset(cx)?.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if let Some((data, last)) = self.pending.take() {
                if self.body.poll_superseded(cx).is_ready() {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Ok(()));
                }
                if self.poll_window(cx)?.is_pending() {
                    self.pending = Some((data, last));
                    return Poll::Pending;
                }
                self.stream.send_data(data, last)?;
                if last {
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    // Reserves no more than 1 byte: other streams cannot use reserved capacity, and h2 requests the
                    // rest once it has the piece.
                    self.stream.reserve_capacity(1);
                    self.pending = Some((data, self.body.is_end_stream()));
                }
                Some(Err(reason)) => {
                    self.stream.send_reset(reason);
                    return Poll::Ready(Ok(()));
                }
                None => return Poll::Ready(self.stream.send_data(Bytes::new(), true)),
            }
        }
    }

    /// Waits until a piece may be sent.
    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(room) => _ = room?,
                // The stream has been closed.
                None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Future for RequestBodyWriter {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_write(cx).map(drop)
    }
}
