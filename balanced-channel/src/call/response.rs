//! A response on its way: counted against its subchannel and bound by the deadline to its last byte.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use tonic::Status;

use super::{
    deadline::Deadline,
    failure::{Failure, broken},
    request::RequestBody,
};
use crate::subchannel::Ready;

/// One attempt under way. However it ends, it is counted once: as failed unless it is told otherwise.
#[derive(Debug)]
pub(crate) struct InFlight {
    ready: Arc<Ready>,
    succeeded: bool,
}

pin_project_lite::pin_project! {
    /// The body of a response.
    ///
    /// Fails with DEADLINE_EXCEEDED when the call's deadline passes before its end.
    #[derive(Debug)]
    pub struct ResponseBody {
        #[pin]
        body: Incoming,
        address: SocketAddr,
        in_flight: Option<InFlight>,
        deadline: Deadline,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

// === impl InFlight ===

impl InFlight {
    pub(crate) fn start(ready: Arc<Ready>) -> Self {
        ready.subchannel.calls.started.fetch_add(1, Ordering::AcqRel);
        Self { ready, succeeded: false }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.ready.subchannel.endpoint.address
    }

    pub(crate) async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, Failure> {
        Ok(self.ready.sender.clone().try_send_request(request).await?)
    }

    /// Ends the attempt as failed.
    pub(crate) fn fail(self) {}

    /// Reads how the call ended from its trailers.
    fn ended(mut self, trailers: &HeaderMap) {
        self.succeeded = succeeded(trailers);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let calls = &self.ready.subchannel.calls;
        let counter = if self.succeeded { &calls.succeeded } else { &calls.failed };
        counter.fetch_add(1, Ordering::AcqRel);
    }
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(crate) fn new(
        response: Response<Incoming>,
        in_flight: InFlight,
        deadline: Deadline,
    ) -> Response<Self> {
        let (head, body) = response.into_parts();
        let address = in_flight.address();
        let in_flight = if head.headers.contains_key(Status::GRPC_STATUS) {
            // Trailers-Only: the headers are all there is.
            in_flight.ended(&head.headers);
            None
        } else {
            Some(in_flight)
        };
        Response::from_parts(head, Self { body, address, in_flight, deadline, timer: None })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let Poll::Ready(frame) = this.body.poll_frame(cx) else {
            if this.timer.is_none() {
                *this.timer = this.deadline.timer().map(Box::pin);
            }
            let Some(timer) = this.timer else { return Poll::Pending };
            ready!(timer.as_mut().poll(cx));
            this.in_flight.take();
            let reading = format!("reading the response of {}", this.address);
            return Poll::Ready(Some(Err(this.deadline.exceeded(&reading))));
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(call) = this.in_flight.take()
                {
                    call.ended(trailers);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                this.in_flight.take();
                Some(Err(broken(&error, *this.address)))
            }
            None => {
                this.in_flight.take();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn succeeded(trailers: &HeaderMap) -> bool {
    trailers.get(Status::GRPC_STATUS).is_some_and(|status| status == "0")
}
