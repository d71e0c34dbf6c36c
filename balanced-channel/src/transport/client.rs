//! Sends calls over one connection. The task of the caller puts the frames of its call into h2's queue; the task of
//! the connection only writes them.

use std::{
    future::{Future as _, pending, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Response};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit};

use super::{
    replay::AttemptBody,
    request_body::RequestBodyWriter,
    response_body::{IncomingBody, ResponseError, StreamPermit},
    shared::{DrainReason, Shared},
    stream_quota::StreamGrant,
};

/// Sends calls over one connection.
#[derive(Clone, Debug)]
pub(crate) struct Http2Client {
    h2: SendRequest<Bytes>,
    shared: Arc<Shared>,
}

/// A request failed without a response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The connection takes no more calls.
    #[error("the connection takes no more calls")]
    Closed,
    /// The connection ended before the request was sent.
    #[error("the connection ended before the call was sent: {0}")]
    NotSent(h2::Error),
    /// The request cannot be represented in HTTP/2.
    #[error("the request cannot be sent over HTTP/2: {0}")]
    InvalidRequest(h2::Error),
    /// The call failed after some or all of the request was sent.
    #[error(transparent)]
    Failed(ResponseError),
}

/// Holds the permit for a call above the limit until its stream is open, even if the caller drops the call before.
struct AboveLimitPermit {
    stream: Option<(SendRequest<Bytes>, OwnedSemaphorePermit)>,
    runtime: Handle,
}

// === impl Http2Client ===

impl Http2Client {
    pub(super) fn new(h2: SendRequest<Bytes>, shared: Arc<Shared>) -> Self {
        Self { h2, shared }
    }

    /// Returns true if the connection takes no more calls.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.quota.is_closed()
    }

    /// Waits until the peer leaves a keepalive PING unanswered. Never returns without keepalive.
    pub(crate) async fn unresponsive(&self) {
        if self.shared.peer.subscribe().wait_for(|peer| peer.silent).await.is_err() {
            pending().await
        }
    }

    /// Waits for a free stream, creates and sends the request, and waits for the response to begin. Calls `on_open`
    /// once the stream is open. Dropping the future, or the response, resets the stream.
    pub(crate) async fn send(
        &self,
        request: impl FnOnce() -> Request<AttemptBody>,
        on_open: impl FnOnce(),
    ) -> Result<Response<IncomingBody>, SendError> {
        let (permit, grant) = StreamPermit::acquire(&self.shared).await.ok_or(SendError::Closed)?;
        // Each call uses a clone: h2 refuses further requests on a handle whose last request waits for a stream.
        let mut h2 = self.h2.clone();
        let (head, body) = request().into_parts();
        let empty = matches!(&body, AttemptBody::Whole(data) if data.is_empty());
        let (mut response, mut stream) = h2
            .send_request(Request::from_parts(head, ()), empty)
            .map_err(|error| self.send_error(&mut h2, error))?;
        if let StreamGrant::AboveLimit(permit) = grant {
            let runtime = self.shared.runtime.clone();
            AboveLimitPermit { stream: Some((h2, permit)), runtime }.wait_until_open().await;
        }
        on_open();
        let mut upload = match body {
            AttemptBody::Whole(data) => {
                if !empty {
                    // h2 buffers the data until the peer's window is open. If the stream has ended already, the
                    // response has the reason.
                    let _ = stream.send_data(data, true);
                }
                drop(stream);
                None
            }
            body => Some(Box::new(RequestBodyWriter::new(body, stream))),
        };
        let answer = poll_fn(|cx| {
            if upload.as_mut().is_some_and(|upload| Pin::new(upload).poll(cx).is_ready()) {
                upload = None;
            }
            Pin::new(&mut response).poll(cx)
        });
        match answer.await {
            Ok(answer) => {
                let headers = self.shared.header_list_limit.check_headers(answer.headers());
                headers.map_err(|error| SendError::Failed(error.into()))?;
                if let Some(upload) = upload
                    && !answer.body().is_end_stream()
                {
                    self.shared.runtime.spawn(upload);
                }
                Ok(answer.map(|body| IncomingBody::new(body, permit)))
            }
            Err(error) if self.was_not_sent(&response) => Err(SendError::NotSent(error)),
            Err(error) => {
                let stream = response.stream_id().as_u32();
                Err(SendError::Failed(ResponseError::new(error, stream, &self.shared)))
            }
        }
    }

    /// Returns why h2 did not accept a request.
    fn send_error(&self, h2: &mut SendRequest<Bytes>, error: h2::Error) -> SendError {
        // Polls once, without waiting.
        match h2.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => {
                // Neither the peer nor the stream below has an error: the HTTP/2 stream IDs are exhausted.
                if error.reason().is_none() && !error.is_io() {
                    self.shared.drain(DrainReason::StreamIdsExhausted);
                }
                SendError::NotSent(error)
            }
            // The connection would accept another request.
            _ => SendError::InvalidRequest(error),
        }
    }

    /// Returns true if no frame of the call was written.
    fn was_not_sent(&self, response: &ResponseFuture) -> bool {
        response.stream_id().as_u32() > self.shared.observed.last_opened_stream.load(Ordering::Relaxed)
    }
}

// === impl AboveLimitPermit ===

impl AboveLimitPermit {
    /// Waits until the stream is open or has failed to open; the response has the outcome.
    async fn wait_until_open(mut self) {
        if let Some((h2, _)) = &mut self.stream {
            let _ = poll_fn(|cx| h2.poll_ready(cx)).await;
        }
        self.stream = None;
    }
}

impl Drop for AboveLimitPermit {
    fn drop(&mut self) {
        if let Some((mut h2, permit)) = self.stream.take() {
            self.runtime.spawn(async move {
                let _ = poll_fn(|cx| h2.poll_ready(cx)).await;
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests;
