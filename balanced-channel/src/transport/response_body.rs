//! The body of a response as it arrives.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame};

use super::{
    header_list::HeaderListTooLarge, http2_error::describe_http2_error, shared::Shared,
    stream_quota::StreamGrant,
};

/// The number of bytes that are read before a WINDOW_UPDATE is sent. It is a small part of the window (RFC 9113,
/// section 6.9.1), and larger than a short response, which then needs none.
const RELEASE: usize = 64 << 10;

/// The body of a response. Dropping it before its end resets the stream.
#[derive(Debug)]
pub(crate) struct IncomingBody {
    stream: RecvStream,
    /// The number of bytes that were read and not yet released.
    read: usize,
    /// The permit of the stream, released with the last byte.
    permit: Option<StreamPermit>,
    state: State,
}

/// The response ended early, or is larger than the channel accepts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResponseError {
    #[error("{}", describe_http2_error(.0))]
    Http2(h2::Error),
    #[error(transparent)]
    HeaderList(#[from] HeaderListTooLarge),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Ended,
}

/// The permit of a call to use one stream of its connection. Dropping the permit releases it.
#[derive(Debug)]
pub(super) struct StreamPermit(Arc<Shared>);

// === impl StreamPermit ===

impl StreamPermit {
    /// Waits for a free stream. Returns `None` if the connection takes no more calls.
    pub(super) async fn acquire(shared: &Arc<Shared>) -> Option<(Self, StreamGrant)> {
        let grant = shared.quota.acquire().await?;
        Some((Self(shared.clone()), grant))
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.quota.release();
    }
}

// === impl ResponseError ===

impl ResponseError {
    /// Creates the error of a stream.
    pub(super) fn new(error: h2::Error, stream: u32, shared: &Shared) -> Self {
        match shared.header_list_error(stream, &error) {
            Some(too_large) => too_large.into(),
            None => Self::Http2(error),
        }
    }
}

// === impl IncomingBody ===

impl IncomingBody {
    pub(super) fn new(stream: RecvStream, permit: StreamPermit) -> Self {
        Self { stream, read: 0, permit: Some(permit), state: State::Data }
    }

    fn end(&mut self) {
        self.state = State::Ended;
        self.permit = None;
    }

    /// Converts an error of h2.
    fn error(&self, error: h2::Error) -> ResponseError {
        let stream = self.stream.stream_id().as_u32();
        match &self.permit {
            Some(StreamPermit(shared)) => ResponseError::new(error, stream, shared),
            None => ResponseError::Http2(error),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        if self.state == State::Data {
            let data = ready!(self.stream.poll_data(cx)).transpose();
            if let Some(data) = data.map_err(|error| self.error(error))? {
                self.read += data.len();
                if self.read >= RELEASE {
                    // Fails only if more is released than was read.
                    let _ = self.stream.flow_control().release_capacity(std::mem::take(&mut self.read));
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.state = State::Trailers;
        }
        if self.state == State::Trailers {
            let trailers = ready!(self.stream.poll_trailers(cx)).map_err(|error| self.error(error))?;
            if let (Some(trailers), Some(StreamPermit(shared))) = (&trailers, &self.permit) {
                let long_block = shared.observed.long_block(self.stream.stream_id().as_u32());
                shared.header_list_limit.check_trailers(trailers, long_block)?;
            }
            self.end();
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(None)
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let this = self.get_mut();
        let polled = this.poll(cx);
        if let Poll::Ready(Some(Err(_))) = polled {
            this.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self.state {
            State::Data => self.stream.is_end_stream(),
            State::Trailers => false,
            State::Ended => true,
        }
    }
}
